"""Options by the names that other programs use for them: the hint for an option that does not exist."""

import difflib
from collections.abc import Callable, Iterable, Sequence

from ganforge.errors import UserError, printable

# Names of ours, the likeliest first: of these the ones that the verb has are named.
_SYNONYMS: dict[tuple[str, ...], tuple[str, ...]] = {
    tuple(theirs.split()): tuple(ours.split())
    for theirs, ours in {
        "lr rate learn_rate base_lr init_lr": "learning_rate",
        "lr_g glr g_lr gen_lr generator_lr": "generator_learning_rate learning_rate",
        "lr_d dlr d_lr disc_lr discriminator_lr critic_lr": "discriminator_learning_rate learning_rate",
        "batch_size bs b batchsize batch_gpu minibatch train_batch_size": "batch",
        "num_steps n_steps max_steps total_steps iterations iters n_iter niter num_iters max_iter kimg "
        "train_steps num_train_steps": "steps",
        "gpu gpus gpu_id gpu_ids cuda use_cuda no_cuda cpu mps use_gpu accelerator": "device devices",
        "img_size image_size imsize resolution res image_resolution input_size load_size crop_size": "size",
        "output out_dir outdir output_dir output_path o save_dir save_path results_dir results": "out run",
        "name exp_name experiment run_name run_dir logdir log_dir checkpoint_dir": "run out",
        "dataset dataroot data_dir data_path data_root input dataset_path train_dir images d": "data",
        "nz z_dim zdim latent_dim latents noise_dim z_size latent": "latent_size",
        "ngf ndf nf base_channels channel_base capacity dim hidden_dim features": "width hidden",
        "num_samples n num num_images samples num_generate amount": "count num_samples",
        "random_seed manual_seed rng_seed seeds": "seed",
        "amp fp16 fp32 bf16 half mixed_precision dtype": "precision",
        "load pretrained resume_from resume_pkl finetune init_from init network_pkl": "start_from",
        "save_every save_interval save_freq checkpoint_interval ckpt_every snap snapshot": "checkpoint_every",
        "sample_interval image_every save_image_every display_freq": "sample_every",
        "log_interval print_freq print_every log_freq": "log_every",
        "eval_every eval_interval metrics metric fid calculate_fid_every val_every": "evaluate_every",
        "aug augmentation diffaug ada data_augmentation diffaugment": "augment",
        "mirror hflip horizontal_flip random_flip": "flip",
        "class classes label y class_idx": "labels conditional",
        "cond class_conditional": "conditional",
        "prompt caption prompts captions": "text",
        "gray grey grayscale greyscale color colour rgb nc num_channels": "channels",
        "b1 beta_1 adam_beta1 betas momentum": "beta1",
        "b2 beta_2 adam_beta2": "beta2",
        "ema ema_decay ema_kimg ema_beta use_ema": "ema_half_life",
        "early_stopping save_best patience": "keep_best",
        "n_critic ncritic critic_iters d_steps n_dis critic_iterations": "critic_steps discriminator_steps",
        "wd weight_decay_rate": "weight_decay",
        "drop drop_rate dropout_rate": "dropout",
        "transparent alpha bg bg_color background_color": "background alpha",
        "force overwrite yes f": "overwrite",
        "dry dryrun": "dry_run",
    }.items()
}
_NO_OPTION = {
    ("epochs", "epoch", "num_epochs", "n_epochs", "max_epochs", "e"): (
        "steps",
        "training is counted in steps, and an epoch is as many as there are images, divided by the batch",
    ),
    ("workers", "num_workers", "n_workers", "nthreads", "num_threads", "threads", "j"): (
        "",
        "none is needed: images are read ahead, and torch's threads are set by OMP_NUM_THREADS",
    ),
    ("resume", "continue", "continue_train", "restart"): (
        "",
        "none is needed: the same command resumes its run",
    ),
    ("verbose", "v", "debug", "progress"): ("", "none is needed: progress is always shown"),
}


def unknown_options(
    names: Sequence[str], known: Iterable[str], spell: Callable[[str], str], more: str
) -> UserError:
    """The error for the options `names`, as typed, where these are `known`, with underscores.

    `spell` gives an option as it is typed here; `more` says where all are listed.
    """
    known = list(known)
    hints = [f"{printable(name)}: {_hint(name, known, spell)}" for name in dict.fromkeys(names)]
    return UserError(f"unknown option{'s' if len(hints) > 1 else ''} {'; '.join(hints)} {more}")


def _hint(name: str, known: Sequence[str], spell: Callable[[str], str]) -> str:
    plain = name.strip("-").replace("-", "_").lower()
    for theirs, (ours, text) in _NO_OPTION.items():
        if plain in theirs and plain not in known and (not ours or ours in known):
            return f"{text}: type {spell(ours)}" if ours else text
    wanted = [ours for theirs, options in _SYNONYMS.items() if plain in theirs for ours in options]
    matches = [option for option in wanted if option in known][:1]
    if not matches and "learning_rate" in wanted:
        matches = [option for option in known if option.endswith("learning_rate")]
    matches = matches or difflib.get_close_matches(plain, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(map(spell, matches))}?" if matches else "there is nothing like it"
