"""An image's style with what a sentence says, by an encoder of latents: Reed et al. 2016, section 4.4."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganforge.data.batch import conditions, to_float
from ganforge.data.decode import Target, Unreadable, decode
from ganforge.data.sources.storage import read_regular
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.generation.output import own_images, write_folder
from ganforge.nn.networks.text import ImageEncoder
from ganforge.nn.optimizers import decay_linearly
from ganforge.reporting import grids
from ganforge.runs import sampling
from ganforge.runs.trained import Trained, Weights
from ganforge.system import LatentSystem
from ganforge.systems.families.resolutions import stages_for
from ganforge.text.embeddings import data_of, describe

FOLDER = "style"
DEFAULT_STEPS = 2_000
BATCH, WIDTH, RATE = 64, 64, 1e-3
NUM_JUDGED = 1_024
STEPS_BETWEEN_LINES = 50
_STEPS, _SHARE = "steps", "share"  # kept beside the weights


def restyle(
    trained: Trained,
    places: Sequence[Path],
    texts: Sequence[str],
    out: Path,
    steps: int | None = None,
    weights: Weights = "ema",
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Draw `texts` in the style of each of the images in the files `places`: G(S(x), h).

    S is trained once for a checkpoint, `steps` long, and kept in the run folder; another number of steps
    trains it anew. `out` ending in .png gets the images and below them a row for each text; any other is a
    folder of one PNG each. Returns what was written, in words. Raises UserError where the run is told no
    sentences, a text is empty, an image cannot be read, or `out` cannot be written.
    """
    name = trained.run.config.system
    system = trained.system
    if "embeddings" not in system.needs or not isinstance(system, LatentSystem):
        raise UserError(f"{name} is told no sentences: use a run of gan_cls or stackgan")
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: expected 1 or more")
    form, weights = out.suffix.lower(), trained.resolve_weights(weights)
    if form not in ("", ".png"):
        raise UserError(f"--out {out}: expected a name ending in .png, or a folder")
    told = describe(trained, texts).embeddings
    assert told is not None
    styles = to_float(torch.stack([_read(place, trained) for place in places]))
    count = len(styles)
    about = {"command": command, "run": trained.run.path.name, "system": name, "step": str(trained.step),
             "weights": weights}  # fmt: skip
    try:
        surplus = [] if form else own_images(out)
        network, share = style_encoder(trained, steps, weights, say)
        with torch.no_grad():
            latents = network(styles.to(system.device)).cpu()
        given = conditions(embeddings=told.repeat_interleave(count, 0))
        images = trained.decode(latents.repeat(len(texts), 1), given, weights)
        if form:
            grid = grids.captioned_grid(torch.cat([styles, images]), ["style", *texts])
            grids.save_png(grid, out, about)
        else:
            abouts = [
                {"source": printable(place.name), "text": printable(text)[:1000]}
                for text in texts
                for place in places
            ]
            write_folder([images], out, about, abouts, surplus)
    except OSError as error:
        raise UserError(f"--out {out}: {error.strerror or error}") from error
    return f"{out}: {len(images)} images; S finds {100 * share:.3g} % of the latents' variance"


def style_encoder(
    trained: Trained,
    steps: int | None = None,
    weights: Weights = "ema",
    say: Callable[[str], None] = lambda text: None,
) -> tuple[ImageEncoder, float]:
    """S for the checkpoint of `trained`, and its R^2, as the run folder keeps them; else trained, and kept.

    Raises UserError where it has to be trained and the captions of the run's data cannot be read.
    """
    system = trained.system
    assert isinstance(system, LatentSystem)
    path = trained.run.path / FOLDER / f"{trained.step:06d}-{weights}.safetensors"
    kept = _kept(path, system, steps)
    if kept is not None:
        return kept
    steps = DEFAULT_STEPS if steps is None else steps
    try:
        texts = data_of(trained.run).splits["train"].texts
    except UserError as error:
        raise UserError(
            f"S is trained on captions of the run's data, which cannot be read: {error}"
        ) from error
    assert texts is not None
    with trained.using(weights):
        network, share = train_style(system, texts.values, steps, say)
    numbers = {_STEPS: torch.tensor(steps), _SHARE: torch.tensor(share)}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    if trained.run.packaged:
        return network, share
    try:
        path.parent.mkdir(exist_ok=True)
        replace_file(path, safetensors.torch.save(tensors | numbers))
        for old in path.parent.glob("*.safetensors"):
            if not old.name.startswith(f"{trained.step:06d}-"):
                old.unlink()
    except OSError:  # a run that cannot be written to: S is here all the same
        pass
    return network, share


def train_style(
    system: LatentSystem,
    embeddings: Tensor,
    steps: int,
    say: Callable[[str], None] = lambda text: None,
    seed: int = 0,
) -> tuple[ImageEncoder, float]:
    """S, which finds the latents z that `system` made an image of, and how much of their variance it finds.

    It minimises E ||z - S(G(z, h))||^2 over latents and rows h of `embeddings` `[n, size]`; G stays as it is.
    The second is R^2 on fresh draws: 0 for what guesses the mean 0, at most 1. Reed et al. 2016, section 4.4;
    network, Adam and its rate, which falls linearly to 0, are ours.
    """
    with sampling.SeededRandom(seed, system.device).stretch():
        network = _untrained(system)
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        for step in range(steps):
            decay_linearly({"style": optimizer}, RATE, step, steps)
            latents, images = _draw(system, embeddings)
            loss = (latents - network(images)).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % STEPS_BETWEEN_LINES == 0:
                error = float(loss.detach()) / latents.shape[1]
                say(f"step {step:,} of {steps:,}, {100 * error:.3g} % of the latents' variance missed")
        network.eval()
        missed, there = 0.0, 0.0
        for _ in range(NUM_JUDGED // BATCH):
            latents, images = _draw(system, embeddings)
            with torch.no_grad():
                missed += float((latents - network(images)).square().sum())
            there += float(latents.square().sum())
    return network, 1 - missed / there


def _draw(system: LatentSystem, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Latents `[BATCH, n]` and what the generator makes of them with captions at random."""
    rows = torch.randint(len(embeddings), (BATCH,))
    given = conditions(embeddings=embeddings[rows].to(system.device))
    with sampling.evaluation_mode(system):
        latents = system.draw_latents(BATCH)
        return latents, system.decode(latents, given).float()


def _untrained(system: LatentSystem) -> ImageEncoder:
    start, doublings = stages_for("S", system.data)
    with sampling.evaluation_mode(system):
        size = system.draw_latents(1).shape[1]
    return ImageEncoder(
        channels=system.data.channels, start=start, doublings=doublings, width=WIDTH, embedding_size=size
    ).to(system.device)


def _kept(path: Path, system: LatentSystem, steps: int | None) -> tuple[ImageEncoder, float] | None:
    """What is kept in `path`, unless it is damaged, of another version, or not of the `steps` asked for."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        done, share = int(tensors.pop(_STEPS)), float(tensors.pop(_SHARE))
        with torch.random.fork_rng(devices=[]):
            network = _untrained(system)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, RuntimeError):
        return None
    return (network.eval(), share) if steps in (None, done) else None


def _read(place: Path, trained: Trained) -> Tensor:
    """The image in the file `place` as the run's images are, uint8."""
    try:
        shape = trained.run.config.spec.shape
        return torch.from_numpy(np.array(decode(read_regular(place), Target(shape), trained.run.config.data)))
    except Unreadable as error:
        raise UserError(
            f"{printable(str(place))} cannot be read ({error}): expected PNG, JPEG, WebP, BMP or GIF"
        ) from error
