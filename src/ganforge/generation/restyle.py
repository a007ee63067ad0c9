"""Prompts in the style of an image, by an encoder of latents: Reed et al. 2016, section 4.4."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganforge.data.batch import conditions, to_float
from ganforge.data.decode import Target, Unreadable, decode, read_header
from ganforge.data.formats import READABLE
from ganforge.data.sources.storage import read_regular
from ganforge.errors import UserError, printable
from ganforge.files.atomic import replace_file
from ganforge.generation.output import IMAGES, open_output, provenance
from ganforge.generation.text_to_image import MOST_STORED
from ganforge.nn.networks.text import ImageEncoder
from ganforge.nn.optimizers import decay_linearly
from ganforge.reporting import grids
from ganforge.runs import sampling
from ganforge.runs.trained import Trained, Weights
from ganforge.system import LatentSystem
from ganforge.systems.families.resolutions import stages_for
from ganforge.text.embeddings import data_of, describe

FOLDER = "style"
KEPT = re.compile(r"[0-9]{6,}-(ema|raw)\.safetensors")
DEFAULT_STEPS = 2_000
BATCH, WIDTH, RATE = 64, 64, 1e-3
NUM_EVALUATED = 1_024
STEPS_BETWEEN_LINES = 50
_STEPS, _SHARE = "steps", "share"  # kept with the weights


def restyle(
    trained: Trained,
    files: Sequence[Path],
    texts: Sequence[str],
    out: Path,
    steps: int | None = None,
    weights: Weights = "ema",
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    overwrite: bool = False,
    data: str | None = None,
) -> str:
    """Sample each of the prompts `texts` in the style of each of the images in `files`: G(S(x), h).

    S is trained once for a checkpoint, for `steps`, and kept in the run folder; another number of steps
    trains it again, on the captions of the run's data, which may be at `data` now. `out` ending like an image
    gets the images and below them a row for each prompt; any other is a folder of one PNG each. Returns a
    line for the user. Raises UserError where the run is not conditioned on captions, a prompt is empty, an
    image cannot be read, or `out` cannot be written.
    """
    system = trained.system
    if "embeddings" not in system.needs or not isinstance(system, LatentSystem):
        raise UserError(f"{trained.run.config.system} uses no captions: use a run of gan_cls or stackgan")
    if steps is not None and steps < 1:
        raise UserError(f"--steps {steps}: expected 1 or more")
    embeddings = describe(trained, texts).embeddings
    assert embeddings is not None
    styles = to_float(torch.stack([_read(file, trained) for file in files]))
    about = provenance(trained, weights, command)
    with open_output(out, *IMAGES, about=about, overwrite=overwrite) as output:
        network, share = style_encoder(trained, steps, trained.resolve_weights(weights), say, data)
        with torch.no_grad():
            latents = network(styles.to(system.device)).cpu()
        batch = conditions(embeddings=embeddings.repeat_interleave(len(styles), 0))
        images = trained.decode(latents.repeat(len(texts), 1), batch, weights)
        if output.form:
            grid = grids.captioned_grid(torch.cat([styles, images]), ["style", *texts])
            output.write_image(grid, about)
        else:
            each = [
                {"source": printable(file.name), "text": printable(text)[:MOST_STORED]}
                for text in texts
                for file in files
            ]
            output.write_folder([images], about, each)
    explained = f"S explains {100 * share:.3g} % of the latents' variance"
    return f"{out}: {len(images)} images; {explained}{output.replaced}"


def style_encoder(
    trained: Trained,
    steps: int | None = None,
    weights: Weights = "ema",
    say: Callable[[str], None] = lambda text: None,
    data: str | None = None,
) -> tuple[ImageEncoder, float]:
    """S for the checkpoint of `trained`, and its R^2, from the run folder; else trained, and kept there.

    `data` is where the run's data are now, whose captions S is trained on.
    Raises UserError where it must be trained and the captions of the run's data cannot be read.
    """
    system = trained.with_weights(weights)
    assert isinstance(system, LatentSystem)
    path = trained.run.path / FOLDER / f"{trained.step:06d}-{weights}.safetensors"
    kept = _kept(path, system, steps)
    if kept is not None:
        return kept
    steps = DEFAULT_STEPS if steps is None else steps
    try:
        texts = data_of(trained.run, data).splits["train"].texts
    except UserError as error:
        raise UserError(
            f"S is trained on captions of the run's data, which cannot be read: {error}"
        ) from error
    assert texts is not None
    network, share = train_style(system, texts.values, steps, say)
    numbers = {_STEPS: torch.tensor(steps), _SHARE: torch.tensor(share)}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    if trained.run.packaged:
        return network, share
    try:
        path.parent.mkdir(exist_ok=True)
        replace_file(path, safetensors.torch.save(tensors | numbers))
        for old in path.parent.iterdir():
            if KEPT.fullmatch(old.name) and not old.name.startswith(f"{trained.step:06d}-"):
                old.unlink()
    except OSError:  # a run that cannot be written to: S is usable all the same
        pass
    return network, share


def train_style(
    system: LatentSystem,
    embeddings: Tensor,
    steps: int,
    say: Callable[[str], None] = lambda text: None,
    seed: int = 0,
) -> tuple[ImageEncoder, float]:
    """S, which predicts the latents of an image that `system` generated, and its R^2 on fresh samples.

    It minimises E ||z - S(G(z, h))||^2 over latents and rows h of `embeddings` `[n, size]`; G is fixed. R^2
    is 0 for predicting the mean 0, and at most 1. Reed et al. 2016, section 4.4; the network, Adam and its
    linear learning-rate decay to 0 are ours.
    """
    generator = sampling.seeded(seed, system.device)
    with torch.random.fork_rng(devices=[]):  # first weights are torch's: the caller's state is left as it was
        torch.manual_seed(seed)
        network = _untrained(system)
        if system.device.type == "cpu":
            generator.set_state(torch.get_rng_state())  # no number of the first weights is drawn twice
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    for step in range(steps):
        decay_linearly({"style": optimizer}, {"style": RATE}, step, steps)
        latents, images = _draw(system, embeddings, generator)
        loss = (latents - network(images)).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % STEPS_BETWEEN_LINES == 0:
            error = float(loss.detach()) / latents.shape[1]
            say(f"step {step:,} of {steps:,}, {100 * error:.3g} % of the latents' variance unexplained")
    network.eval()
    unexplained, total = 0.0, 0.0
    for _ in range(NUM_EVALUATED // BATCH):
        latents, images = _draw(system, embeddings, generator)
        with torch.no_grad():
            unexplained += float((latents - network(images)).square().sum())
        total += float(latents.square().sum())
    return network, 1 - unexplained / total


def _draw(system: LatentSystem, embeddings: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latents `[BATCH, n]` and samples of them with random captions."""
    rows = torch.randint(len(embeddings), (BATCH,), generator=generator, device=system.device)
    batch = conditions(embeddings=embeddings[rows.to(embeddings.device)].to(system.device))
    with torch.no_grad():
        latents = system.draw_latents(BATCH, generator=generator)
        return latents, system.decode(latents, batch, generator=generator).float()


def _untrained(system: LatentSystem) -> ImageEncoder:
    start, doublings = stages_for("S", system.data)
    with torch.no_grad():
        size = system.draw_latents(1).shape[1]
    return ImageEncoder(
        channels=system.data.channels, start=start, doublings=doublings, width=WIDTH, embedding_size=size
    ).to(system.device)


def _kept(path: Path, system: LatentSystem, steps: int | None) -> tuple[ImageEncoder, float] | None:
    """S and its R^2 as stored in `path`, unless damaged, of another version, or of other `steps`."""
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        done, share = int(tensors.pop(_STEPS)), float(tensors.pop(_SHARE))
        with torch.random.fork_rng(devices=[]):
            network = _untrained(system)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, RuntimeError):
        return None
    return (network.eval(), share) if steps in (None, done) else None


def _read(file: Path, trained: Trained) -> Tensor:
    """The image in `file` in the shape of the run's images, uint8."""
    try:
        spec, options, data = trained.run.config.spec, trained.run.config.data, read_regular(file)
        if read_header(data).bits != spec.bits:  # not of the depth that the range of the run counts in
            options = options.model_copy(update={"range": "full"})
        return torch.from_numpy(np.array(decode(data, Target(spec.shape), options)))
    except Unreadable as error:
        raise UserError(f"{printable(str(file))} cannot be read ({error}): expected {READABLE}") from error
