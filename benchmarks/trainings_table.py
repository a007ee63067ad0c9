"""Which trainings are compared with which: the commands behind the tables of `docs/systems/`."""

from typing import NamedTuple


class Training(NamedTuple):
    """One command, its name in the results, and the options with which it is evaluated."""

    name: str
    command: str
    evaluate: str = ""
    singular_values: bool = False


class Comparison(NamedTuple):
    """Trainings that belong in one table, and the file that keeps their rows."""

    what: str
    file: str
    trainings: tuple[Training, ...]


# Small enough for a CPU: narrow networks, one discriminator update in a step.
_SMALL_SNGAN = (
    "--network convolutional --width 16 --discriminator-width 16 --discriminator-steps 1"
    " --generator-batch-factor 1 --learning-rate 0.001"
)
_VAE = "train vae --data mnist --binarise dynamic"
_IWAE = "--objective iwae --num-importance"
_SMALL_INFOGAN = "--width 32 --dense-units 256"
# Captions of a class lie together and still find their image: what a GAN draws right depends on it most.
_CLASS_ENCODER = "train text_encoder --data emoji --size 32 --loss contrastive --class-share 0.1 --steps 5000"
# ADA, because 3,331 images are few; a rate above the paper's, because so are the steps.
# Two thirds of emoji are people: without balanced classes the rest is seldom learned.
_GAN_CLS = "train gan_cls --data emoji --size 32 --augment ada --learning-rate 0.0005 --balance-classes"
_ONE_STAGE = "train gan_cls --data emoji --size 64 --augment color,translation,cutout --learning-rate 0.0005"
# The weight of the released code: at the paper's 1 a nat of the caption costs more than it can win.
_STACKGAN = (
    "train stackgan --data emoji --augment color,translation,cutout --learning-rate 0.0005"
    " --divergence-weight 0.015625"
)

_EDGES_TO_EMOJI = (
    "train pix2pix --data emoji --pairs edges --jitter 8 --flip --width 20 --discriminator-width 16 --batch 4"
    " --learning-rate 0.001 --precision fp32"
)
# What the paper used on a GPU; on a CPU other values are suggested.
_PAPER_DCGAN = (
    " --kernel-size 5 --batch 128 --learning-rate 0.0002 --latent-distribution uniform --odd-maps keep"
)
# Five translations of each of 455 held-out sources, so that there is an FID.
_FIVE_TIMES = "--num-samples 2275"
_PHOTOS = "--data photos.zip --pairs downscale:4 --flip --crop-size 64 --batch 8"
METHODS_DATA = ("mnist", "fashion-mnist")
METHODS = {
    "gan": "train gan --data {data} --steps 13000",
    "dcgan": "train dcgan --data {data} --width 32 --kernel-size 4 --batch 64 --learning-rate 0.001"
    " --latent-distribution uniform --odd-maps keep --steps 5000",
    "sngan": f"train sngan --data {{data}} {_SMALL_SNGAN} --steps 3000",
    "r3gan": "train r3gan --data {data} --steps 1000",
    "infogan": f"train infogan --data {{data}} {_SMALL_INFOGAN} --steps 3000"
    " --continuous-information-weight 0.1",
    "vae": "train vae --data {data} --steps 20000",
    "pixelcnn": "train pixelcnn --data {data} --width 32 --layers 5 --kernel-size 3 --steps 1500"
    " --learning-rate 0.001 --ema-half-life 8000 --compile on",
}
"""What `docs/results.md` puts side by side, for each of `METHODS_DATA`."""

TABLE: dict[str, Comparison] = {
    "methods": Comparison(
        "GANs and their rivals side by side on MNIST and Fashion-MNIST, each at a size for a CPU",
        "family_methods.json",
        tuple(
            Training(f"{data}-{name}", command.format(data=data))
            for data in METHODS_DATA
            for name, command in METHODS.items()
        ),
    ),
    "toys": Comparison(
        "2-D mixtures of Gaussians: modes, share of high quality, reverse KL of 2,500 samples",
        "family_toys.json",
        tuple(
            Training(f"{data}-{name}", f"train {system} --data {data} --steps 10000")
            for data in ("ring", "grid")
            for name, system in (("gan", "gan"), ("gan-pack2", "gan --pack 2"), ("r3gan", "r3gan"))
        ),
    ),
    "stacked": Comparison(
        "stacked MNIST: modes of 1,000 and KL of 26,000 samples, by the MNIST classifier on each channel",
        "family_stacked.json",
        (
            Training("dcgan", f"train dcgan --data stacked-mnist --width 32 --steps 12000{_PAPER_DCGAN}"),
            Training(
                "dcgan-pack2",
                f"train dcgan --data stacked-mnist --width 32 --steps 12000 --pack 2{_PAPER_DCGAN}",
            ),
            Training(
                "dcgan-pack2-fast",
                "train dcgan --data stacked-mnist --width 32 --kernel-size 4 --batch 64 --learning-rate 0.001"
                " --latent-distribution uniform --odd-maps keep"
                " --steps 20000 --pack 2",
            ),
            Training(
                "sngan-pack2",
                "train sngan --data stacked-mnist --network convolutional --width 32 --discriminator-width 32"
                " --discriminator-steps 1 --generator-batch-factor 1 --learning-rate 0.001 --steps 3500"
                " --pack 2",
            ),
            Training("r3gan", "train r3gan --data stacked-mnist --width 32 --halvings 0"),
        ),
    ),
    "conditional": Comparison(
        "labelled MNIST: class accuracy, the share of samples classified as the requested digit",
        "family_conditional.json",
        (
            Training(
                "cgan",
                "train cgan --data mnist --steps 12000 --instance-noise 0.5 --instance-noise-images 1200000",
            ),
            Training(
                "cgan-mismatch",
                "train cgan --data mnist --steps 12000 --instance-noise 0.5 --instance-noise-images 1200000"
                " --mismatch-weight 0.3",
            ),
            Training(
                "sngan",
                f"train sngan --data mnist --conditional {_SMALL_SNGAN} --steps 6000",
                singular_values=True,
            ),
        ),
    ),
    "infogan": Comparison(
        "InfoGAN on MNIST: the bound on the information of the codes, and the error of codes read as digits",
        "family_infogan.json",
        (
            Training("infogan", f"train infogan --data mnist {_SMALL_INFOGAN} --steps 3000"),
            Training(
                "infogan-weaker",
                f"train infogan --data mnist {_SMALL_INFOGAN} --steps 3000"
                " --continuous-information-weight 0.1",
            ),
            Training(
                "infogan-paper",
                "train infogan --data mnist --width 64 --dense-units 1024 --steps 5000"
                " --continuous-information-weight 0.1",
            ),
        ),
    ),
    "projection": Comparison(
        "Fashion-MNIST with and without labels, otherwise the same",
        "family_projection.json",
        tuple(
            Training(
                name,
                f"train sngan --data fashion-mnist {labels}{_SMALL_SNGAN} --steps 5000",
                singular_values=True,
            )
            for name, labels in (("unconditional", ""), ("conditional", "--conditional "))
        ),
    ),
    "emoji": Comparison(
        "emoji at 32x32 for equal minutes: KID in the emoji classifier's features",
        "family_emoji.json",
        (
            Training("dcgan", f"train dcgan --data emoji --size 32 --width 32 --steps 2000{_PAPER_DCGAN}"),
            Training("sngan", f"train sngan --data emoji --size 32 {_SMALL_SNGAN} --steps 2800"),
            Training("r3gan", "train r3gan --data emoji --size 32 --steps 1000"),
        ),
    ),
    "binarised": Comparison(
        "MNIST in black and white: -log p(x) in nats of the 10,000 test images",
        "rivals_binarised.json",
        (
            Training("vae", _VAE),
            Training("vae-300000", f"{_VAE} --steps 300000"),
            Training("iwae-5", f"{_VAE} {_IWAE} 5"),
            # At equal steps, for 100,000 of IWAE-50 take hours.
            Training("vae-10000", f"{_VAE} --steps 10000"),
            Training("iwae-5-10000", f"{_VAE} {_IWAE} 5 --steps 10000"),
            Training("iwae-50-10000", f"{_VAE} {_IWAE} 50 --steps 10000"),
            Training(
                "pixelcnn",
                "train pixelcnn --data mnist --binarise static --kernel-size 3 --steps 18000"
                " --learning-rate 0.002 --ema-half-life 7200 --compile on",
            ),
            Training(
                "pixelcnn-7x7",
                "train pixelcnn --data mnist --binarise static --kernel-size 7 --steps 10000"
                " --learning-rate 0.002 --ema-half-life 4000 --compile on",
            ),
            Training(
                "pixelrnn",
                "train pixelrnn --data mnist --binarise static --steps 30000 --learning-rate 0.003"
                " --ema-half-life 12000 --compile on",
            ),
        ),
    ),
    "autoencoder": Comparison(
        "MNIST in 32 numbers: cross-entropy and squared error of reconstructed test images",
        "rivals_autoencoder.json",
        (Training("autoencoder", "train autoencoder --data mnist --steps 5000"),),
    ),
    "likelihood": Comparison(
        "emoji at 32x32, 256 levels: bits per dimension of held-out images",
        "rivals_emoji.json",
        (
            Training(
                "pixelcnn",
                "train pixelcnn --data emoji --size 32 --kernel-size 3 --steps 2000 --learning-rate 0.002"
                " --ema-half-life 800 --compile on",
                "--num-samples 455",
            ),
        ),
    ),
    "pix2pix": Comparison(
        "edges to emoji at 64x64: the ablation of Isola et al. 2016 (tables 1, 2), by the emoji classifier",
        "family_pix2pix.json",
        tuple(
            Training(name, f"{_EDGES_TO_EMOJI} {options}--steps 9000", _FIVE_TIMES)
            for name, options in (
                ("l1", "--no-adversarial "),
                ("cgan", "--l1-weight 0 "),
                ("l1-cgan", ""),
                ("encoder-decoder", "--network encoder_decoder "),
            )
        ),
    ),
    "colouring": Comparison(
        "grey photos to colour at 128x128: L1 and PSNR to the held-out photos",
        "family_colouring.json",
        (
            Training(
                "l1-cgan",
                "train pix2pix --data photos.zip --size 128 --pairs grey --jitter 15 --flip --width 20"
                " --discriminator-width 16 --batch 2 --learning-rate 0.001 --precision fp32 --steps 4500",
            ),
        ),
    ),
    "superresolution": Comparison(
        "photos x4: PSNR and SSIM on luma of held-out images, next to bicubic; srgan starts from srresnet",
        "family_superresolution.json",
        (
            Training(
                "srresnet",
                f"train srresnet {_PHOTOS} --width 32 --num-blocks 8 --learning-rate 0.001"
                " --ema-half-life 20000 --steps 20000",
            ),
            Training(
                "srgan",
                f"train srgan {_PHOTOS} --from {{runs}}/srresnet/seed-{{seed}} --discriminator-width 32"
                " --learning-rate 0.0002 --steps 6000",
            ),
        ),
    ),
    "text": Comparison(
        "captions of emoji at 32x32: retrieval, and whether samples show their captions",
        "family_text.json",
        (
            Training("encoder", "train text_encoder --data emoji --size 32"),
            Training("encoder-classes", _CLASS_ENCODER),
            # Steps for equal minutes: captions in between cost half a generator pass more.
            *(
                Training(name, f"{_GAN_CLS} {words}--text-encoder {{runs}}/{encoder}/seed-{{seed}}")
                for name, words, encoder in (
                    ("gan-cls", "--steps 6000 ", "encoder-classes"),
                    ("gan-int-cls", "--interpolate --steps 4700 ", "encoder-classes"),
                    ("conditional", "--mismatch-weight 0 --steps 6000 ", "encoder-classes"),
                    ("gan-cls-joint", "--steps 6000 ", "encoder"),
                )
            ),
            # What comes with the package.
            Training(
                "gan-cls-64",
                f"{_ONE_STAGE} --steps 6000 --text-encoder {{runs}}/encoder-classes/seed-{{seed}}",
            ),
        ),
    ),
    "stackgan": Comparison(
        "sketches of 16x16 and images of 64x64: stage 2 against stage 1 enlarged and against one stage",
        "family_stackgan.json",
        (
            Training("encoder", _CLASS_ENCODER),
            Training(
                "sketch", f"{_STACKGAN} --size 16 --steps 6000 --text-encoder {{runs}}/encoder/seed-{{seed}}"
            ),
            Training(
                "refined",
                f"{_STACKGAN} --size 64 --stage 2 --steps 1600 --from {{runs}}/sketch/seed-{{seed}}",
            ),
            Training(
                "sketch-plain",
                f"{_STACKGAN} --size 16 --no-augment-conditioning --steps 6000"
                " --text-encoder {runs}/encoder/seed-{seed}",
            ),
            Training("one-stage", f"{_ONE_STAGE} --steps 2800 --text-encoder {{runs}}/encoder/seed-{{seed}}"),
        ),
    ),
    "wgan_gp": Comparison(
        "WGAN-GP on MNIST with bf16 outside the penalty",
        "family_wgan_gp.json",
        (Training("wgan_gp-bf16", "train wgan_gp --data mnist --width 16 --steps 2000 --precision bf16"),),
    ),
}
