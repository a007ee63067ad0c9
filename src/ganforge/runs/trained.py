"""A trained run, ready to be sampled: `ganforge.load(path).sample(16, seed=7)`."""

import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch, conditions
from ganforge.distributed import Shard
from ganforge.errors import UserError, printable
from ganforge.runs import sampling
from ganforge.runs.build import build_system
from ganforge.runs.checkpoint import Checkpoint, load_newest, save_checkpoint
from ganforge.runs.compatibility import current_tensors
from ganforge.runs.device import choose_device, lay_out
from ganforge.runs.ema import Average
from ganforge.runs.folder import Run
from ganforge.system import LatentSystem

Weights = Literal["ema", "raw"]
Which = Literal["newest", "best"]
Label = int | str
SHOWN_CLASSES = 20
LEFT_OUT = "left_out"
"""In a checkpoint's state: the names of networks whose weights were not kept."""


class RemovedNetwork(nn.Module):
    """In the place of a network whose weights were not kept; raises UserError where it is used."""

    def forward(self, *_: object) -> Tensor:
        """Nothing."""
        raise UserError("this run came without its discriminator: train one of your own")


class Trained:
    """The system of a run at a checkpoint, or without one as it was before training, in evaluation mode."""

    def __init__(
        self, run: Run, checkpoint: Checkpoint | None, device: str = "auto", system: str | None = None
    ) -> None:
        self.run = run
        self.step = 0 if checkpoint is None else int(checkpoint.state["step"])
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers go on as before
            self.system = build_system(run.config, system)
        self._average = Average(self.system)
        if checkpoint is not None:
            self._load(checkpoint)
        for network in (self.system, *self._average.networks.values()):
            network.to(choose_device(device))
            lay_out(network)
            network.eval()

    def average_state(self) -> dict[str, Tensor]:
        """The averaged weights by name, as a checkpoint has them."""
        return self._average.state()

    def resolve_weights(self, weights: Weights) -> Weights:
        """The weights that `weights` gives: a run without an average has only raw ones."""
        return weights if self._average.networks else "raw"

    def _load(self, checkpoint: Checkpoint) -> None:
        for name in checkpoint.state.get(LEFT_OUT, ()):
            setattr(self.system, name, RemovedNetwork())
        try:
            own = self.system.state_dict()
            self.system.load_state_dict(current_tensors(checkpoint.tensors["system"], own))
            self._average.load(current_tensors(checkpoint.tensors["average"], own))
        except (KeyError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(
                f"checkpoint {checkpoint.path} is not of this version's networks: {first}"
            ) from error

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        weights: Weights = "ema",
        labels: Sequence[Label] | None = None,
        given: Batch | None = None,
    ) -> Tensor:
        """`count` samples `[count, channels, height, width]` in [-1, 1] (or points), by the seed.

        `labels` as of `conditions`, or other conditions as `given`; those that are left out the system draws.
        Raises UserError for labels that it does not know.
        """
        if count < 1:
            raise UserError(f"count is {count}: expected 1 or more")
        if labels is not None:
            if given is not None:
                raise UserError("labels and given: expected one of them, since given holds labels")
            given = self.conditions(labels, count)
        return torch.cat(list(self.draw(count, seed=seed, weights=weights, given=given)))

    def draw(
        self, count: int, *, seed: int = 0, weights: Weights = "ema", given: Batch | None = None
    ) -> Iterator[Tensor]:
        """The same samples, some at a time, so that many never sit in memory at once."""
        with self.using(weights):
            yield from sampling.draw(self.system, count, seed, given)

    def draw_share(
        self, count: int, share: Shard, *, seed: int = 0, weights: Weights = "ema", given: Batch | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """The same samples some at a time, with their rows: of several processes each its own part of them.

        Raises UserError where a system's samples cannot be drawn apart, and there is more than one process.
        """
        if share.ranks == 1:
            start = 0
            for part in self.draw(count, seed=seed, weights=weights, given=given):
                yield slice(start, start + len(part)), part
                start += len(part)
            return
        with self.using(weights):
            yield from sampling.draw_share(self.system, count, seed, given, share)

    def translate(
        self, parts: Iterable[Tensor], *, seed: int = 0, weights: Weights = "ema"
    ) -> Iterator[Tensor]:
        """What is made of each of `parts`, sources `[n, ...]` in [-1, 1] of sizes that `tiling` allows.

        One part at a time, in order, on the CPU. Raises UserError where the system translates no images.
        """
        random = sampling.SeededRandom(seed, self.system.device)
        with self.using(weights):
            for part in parts:
                with sampling.evaluation_mode(self.system), random.stretch():
                    made = self.system.translate(part.to(self.system.device)).float().cpu()
                yield made

    def draw_latents(self, count: int, seed: int = 0) -> Tensor:
        """The latents `[count, ...]` behind the samples of this count and seed.

        Raises UserError where the system decodes no latents.
        """
        return sampling.draw_latents(self._latent_system(), count, seed)

    def set_code(self, latents: Tensor, index: int, values: Tensor | float) -> Tensor:
        """A copy of `latents` whose code number `index` has the value, or each its own of `values` `[count]`.

        Raises UserError where the system has no such code, or a value is out of its range.
        """
        return self._latent_system().set_code(latents, index, torch.as_tensor(values).expand(len(latents)))

    def decode(self, latents: Tensor, given: Batch | None = None, weights: Weights = "ema") -> Tensor:
        """Images in [-1, 1] (or points) of `latents` `[count, ...]`, on the CPU; raises as `draw_latents`."""
        system = self._latent_system()
        with self.using(weights):
            return torch.cat(list(sampling.decode(system, latents, given)))

    def conditions(self, labels: Sequence[Label], count: int | None = None) -> Batch:
        """Labels as what systems are given: for `count` samples they take turns; left out, one sample each.

        A label is a class number from 0, or a text: the name of a class, or its number where no class has
        that name. Raises UserError where the system takes no labels, does not know one, or they are too many.
        """
        system, names = self.run.config.system, self.run.config.spec.class_names
        if "labels" not in self.system.conditions:
            raise UserError(f"{system} takes no labels: leave them out, or sample a run of one that does")
        numbers = torch.tensor([_class_number(label, names) for label in labels])
        if not len(numbers):
            raise UserError(f"no labels were given: expected {known_classes(names)}")
        count = len(numbers) if count is None else count
        if count < len(numbers):
            raise UserError(f"{len(numbers)} labels for {count} samples: expected as many samples or more")
        return conditions(numbers[torch.arange(count) % len(numbers)])

    def discriminate(self, images: Tensor, given: Batch | None = None) -> Tensor | None:
        """Discriminator logits `[count]` of `images` in [-1, 1]; None where there is no discriminator.

        One that judges images under a condition gives None without it. Runs that came with the package came
        without a discriminator.
        """
        if isinstance(getattr(self.system, "discriminator", None), RemovedNetwork):
            return None
        device = self.system.device
        with torch.no_grad():
            logits = self.system.discriminate(images.to(device), None if given is None else given.to(device))
        return None if logits is None else logits.float().cpu()

    def features(self, images: Tensor, weights: Weights = "ema") -> Tensor:
        """Features `[count, n]` of `images` in [-1, 1]; raises UserError where the system has none."""
        with self.using(weights), torch.no_grad():
            found = self.system.features(images.to(self.system.device))
        if found is None:
            raise UserError(
                f"this run of {self.run.config.system} has no features: use one of dcgan with convolutions, "
                "or of vae"
            )
        return found.float().cpu()

    def encode_captions(self, codes: Tensor, weights: Weights = "ema") -> Tensor:
        """Embeddings `[count, n]` of captions in codes int64 `[count, length]` (`ganforge.data.captions`)."""
        with self.using(weights), torch.no_grad():
            found = self.system.encode_captions(codes.to(self.system.device))
        if found is None:
            raise UserError(f"{self.run.config.system} encodes no captions: use a run of text_encoder")
        return found.float().cpu()

    def encode_images(self, images: Tensor, weights: Weights = "ema") -> Tensor:
        """Embeddings `[count, n]` of `images` that can be compared with those of captions."""
        with self.using(weights), torch.no_grad():
            found = self.system.encode_images(images.to(self.system.device))
        if found is None:
            raise UserError(f"{self.run.config.system} encodes no images: use a run of text_encoder")
        return found.float().cpu()

    def reconstruct(self, images: Tensor, weights: Weights = "ema") -> Tensor:
        """`images` `[count, ...]` in [-1, 1] encoded and decoded; raises UserError where that is not done."""
        with self.using(weights), torch.no_grad():
            found = self.system.reconstruct(images.to(self.system.device))
        if found is None:
            raise UserError(f"{self.run.config.system} has no encoder: use a run of vae or autoencoder")
        return found.float().cpu()

    def complete(self, batch: Batch, rows: int, seed: int = 0, weights: Weights = "ema") -> Tensor:
        """The images of `batch` with the first `rows` rows kept and the others drawn by the seed.

        Raises UserError where the system does not go row by row.
        """
        random = sampling.SeededRandom(seed, self.system.device)
        part = batch.to(self.system.device)
        with self.using(weights), torch.no_grad(), random.stretch():
            found = self.system.complete(part.images, rows, part)
        if found is None:
            raise UserError(f"{self.run.config.system} completes nothing: use a run of pixelcnn or pixelrnn")
        return found.float().cpu()

    def outlier_scores(
        self, parts: Iterable[Batch], seed: int = 0, weights: Weights = "ema"
    ) -> dict[str, Tensor]:
        """Of all images of `parts`, numbers `[count]` by name; see `System.outlier_scores`."""
        random = sampling.SeededRandom(seed, self.system.device)
        found: dict[str, list[Tensor]] = {}
        with self.using(weights), torch.no_grad():
            for part in parts:
                with sampling.evaluation_mode(self.system), random.stretch():
                    values = self.system.outlier_scores(part.to(self.system.device))
                for name, numbers in values.items():
                    found.setdefault(name, []).append(numbers.float().cpu())
        return {name: torch.cat(numbers) for name, numbers in found.items()}

    def class_nats(self, parts: Iterable[Batch], weights: Weights = "ema") -> Tensor | None:
        """-log p(x given y), `[count, num_classes]`, of all images of `parts`; see `System.class_nats`."""
        found: list[Tensor] = []
        with self.using(weights), torch.no_grad():
            for part in parts:
                values = self.system.class_nats(part.images.to(self.system.device))
                if values is None:
                    return None
                found.append(values.float().cpu())
        return torch.cat(found)

    def categorise(self, images: Tensor, weights: Weights = "ema") -> Tensor | None:
        """Class numbers `[count]` that the system itself gives `images`, or None; see `System.categorise`."""
        with self.using(weights), torch.no_grad():
            numbers = self.system.categorise(images.to(self.system.device))
        return None if numbers is None else numbers.cpu()

    def measure(self, parts: Iterable[Batch], seed: int = 0, weights: Weights = "ema") -> dict[str, float]:
        """The means over all images of `parts` of what the system measures; see `System.measure`."""
        random = sampling.SeededRandom(seed, self.system.device)
        sums: dict[str, float] = {}
        count = 0
        with self.using(weights):
            for part in parts:
                with sampling.evaluation_mode(self.system), random.stretch():
                    values = self.system.measure(part.to(self.system.device))
                if not values:
                    return {}
                count += len(part.images)
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(part.images)
        return {name: total / count for name, total in sums.items()}

    def _latent_system(self) -> LatentSystem:
        if not isinstance(self.system, LatentSystem):
            raise UserError(f"{self.run.config.system} decodes no latents, and so has no codes: draw samples")
        return self.system

    @contextmanager
    def using(self, weights: Weights) -> Iterator[None]:
        """Within this context the system has these weights."""
        if weights == "raw":
            yield
            return
        with self._average.in_place_of_raw(self.system):
            yield


def known_classes(class_names: Sequence[str]) -> str:
    """The classes that may be asked for, in words."""
    numbers = f"0 to {len(class_names) - 1}"
    if list(class_names) == [str(number) for number in range(len(class_names))]:
        return numbers
    more = ", ..." if len(class_names) > SHOWN_CLASSES else ""
    return f"{numbers}, or of {', '.join(map(printable, class_names[:SHOWN_CLASSES]))}{more}"


def _class_number(label: Label, class_names: Sequence[str]) -> int:
    if isinstance(label, str) and label.strip() in class_names:
        return class_names.index(label.strip())
    try:
        number = int(label) if isinstance(label, str) else operator.index(label)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < len(class_names):
        raise UserError(f"no class {printable(str(label))[:80]!r}: expected {known_classes(class_names)}")
    return number


def write_packed(trained: Trained, out: Path) -> None:
    """Write a run folder of `trained` into `out` without what only going on with the training needs."""
    tensors = {"system": trained.system.state_dict(), "average": trained.average_state()}
    out.mkdir(parents=True, exist_ok=True)
    Run(out, trained.run.config).write_config(trained.run.config)
    save_checkpoint(out / "checkpoints", trained.step, tensors, {"step": trained.step}, keep=1)


def load(
    path: str | Path, device: str = "auto", checkpoint: Which = "newest", system: str | None = None
) -> Trained:
    """The system of the run folder `path` at its newest good checkpoint, or the best; needs no data.

    A run of a system outside of ganforge loads only where `system` is its name, `package.module:Class`.
    Warns of damaged checkpoints; raises UserError where there is no run or no usable checkpoint.
    """
    run = Run.open(Path(path))
    damage: list[str] = []
    found = load_newest(run.best if checkpoint == "best" else run.checkpoints, damage)
    if found is None and checkpoint == "best":
        raise UserError(
            f"{run.path} has kept no best checkpoint: train it with --evaluate-every 1000 --keep-best kid"
        )
    if found is None:
        raise UserError(f"{run.path} has no checkpoint yet: train it first (the same command resumes)")
    for text in damage:
        warnings.warn(text, stacklevel=2)
    return Trained(run, found, device, system)
