"""A trained run, ready to sample: `ganforge.load(path).sample(16, seed=7)`."""

import operator
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

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
from ganforge.system import Discriminates, HasCodes, LatentSystem
from ganforge.systems.discovery import available, find

Weights = Literal["ema", "raw"]
Which = Literal["newest", "best"]
Label = int | str
SHOWN_CLASSES = 20
LEFT_OUT = "left_out"
"""In a checkpoint's state: the names of networks whose weights were not kept."""
RESULTS = {
    "class_nats": "p(x given y)",
    "complete": "completions",
    "encode_captions": "embeddings of captions",
    "encode_images": "embeddings of images",
    "reconstruct": "reconstructions",
    "translate": "translations of images",
}
"""Method of a system -> its result, in words, where the name does not say it."""


class RemovedNetwork(nn.Module):
    """Stands for a network whose weights were not kept; raises UserError when it is called."""

    def forward(self, *_: object) -> Tensor:
        """Nothing."""
        raise UserError(
            "this run has no discriminator: train one of your own (runs of the package leave it out)"
        )


def _on(argument: Any, device: torch.device) -> Any:
    return argument.to(device) if isinstance(argument, Tensor | Batch) else argument


def _on_cpu(result: Any) -> Any:
    """Tensors, or a dict of them, on the CPU, in float32 where they are not integers."""
    if isinstance(result, dict):
        return {name: _on_cpu(value) for name, value in result.items()}
    if not isinstance(result, Tensor):
        return result
    return result.float().cpu() if result.is_floating_point() else result.cpu()


class Trained:
    """The system of a run at a checkpoint, or without one as it was before training, in evaluation mode."""

    def __init__(
        self, run: Run, checkpoint: Checkpoint | None, device: str = "auto", system: str | None = None
    ) -> None:
        self.run = run
        self.step = 0 if checkpoint is None else int(checkpoint.state["step"])
        with torch.random.fork_rng(devices=[]):  # the caller's random state is left as it was
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

        `labels` as of `conditions`, or other conditions as `given`; missing ones are drawn at random.
        Raises UserError for labels that the run does not have.
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

    def call(
        self, method: str, parts: Iterable[Any], *, seed: int = 0, weights: Weights = "ema"
    ) -> Iterator[Any]:
        """The result of the system's `method` for each of `parts`, one at a time, on the CPU in float32.

        A part is the argument of the method, or a tuple of its arguments; what is random is drawn by the
        seed. Raises UserError where the system has no such method.
        """
        if not hasattr(self.system, method):
            able = " or ".join(name for name in available() if hasattr(find(name), method))
            what = RESULTS.get(method, method)
            raise UserError(f"{self.run.config.system} gives no {what}: use a run of {able}")
        random = sampling.SeededRandom(seed, self.system.device)
        with self.using(weights):
            for part in parts:
                arguments = part if isinstance(part, tuple) else (part,)
                with sampling.evaluation_mode(self.system), random.stretch():
                    result = getattr(self.system, method)(*(_on(a, self.system.device) for a in arguments))
                yield _on_cpu(result)

    @property
    def has_discriminator(self) -> bool:
        """Whether `discriminate` can be called: runs that came with the package have no discriminator."""
        removed = isinstance(getattr(self.system, "discriminator", None), RemovedNetwork)
        return isinstance(self.system, Discriminates) and not removed

    def draw_latents(self, count: int, seed: int = 0) -> Tensor:
        """The latents `[count, ...]` behind the samples of this count and seed.

        Raises UserError where the system decodes no latents.
        """
        return sampling.draw_latents(self._latent_system(), count, seed)

    def set_code(self, latents: Tensor, index: int, values: Tensor | float) -> Tensor:
        """A copy of `latents` whose code number `index` has the value, or each its own of `values` `[count]`.

        Raises UserError where the system has no such code, or a value is out of its range.
        """
        if not isinstance(self.system, HasCodes):
            raise UserError(f"{self.run.config.system} has no codes: use a run of infogan")
        return self.system.set_code(latents, index, torch.as_tensor(values).expand(len(latents)))

    def decode(self, latents: Tensor, given: Batch | None = None, weights: Weights = "ema") -> Tensor:
        """Images in [-1, 1] (or points) of `latents` `[count, ...]`, on the CPU; raises as `draw_latents`."""
        system = self._latent_system()
        with self.using(weights):
            return torch.cat(list(sampling.decode(system, latents, given)))

    def conditions(self, labels: Sequence[Label], count: int | None = None) -> Batch:
        """The conditions of `count` samples, whose labels take turns; without `count` one sample each.

        A label is a class number from 0, or a text: the name of a class, or its number where no class has
        that name. Raises UserError where the system takes no labels, lacks one, or they are too many.
        """
        system, names = self.run.config.system, self.run.config.spec.class_names
        if "labels" not in self.system.conditions:
            raise UserError(f"{system} takes no labels: leave them out, or sample a run of one that does")
        numbers = torch.tensor([_class_number(label, names) for label in labels])
        if not len(numbers):
            raise UserError(f"no labels: expected {known_classes(names)}")
        count = len(numbers) if count is None else count
        if count < len(numbers):
            raise UserError(f"{len(numbers)} labels for {count} samples: expected as many samples or more")
        return conditions(numbers[torch.arange(count) % len(numbers)])

    def _latent_system(self) -> LatentSystem:
        if not isinstance(self.system, LatentSystem):
            raise UserError(f"{self.run.config.system} decodes no latents: draw samples instead")
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
    """The classes to choose from, in words."""
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
    """Write a run folder of `trained` into `out` without what only a resumed training needs."""
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
    stored = load_newest(run.best if checkpoint == "best" else run.checkpoints, damage)
    if stored is None and checkpoint == "best":
        raise UserError(
            f"{run.path} has kept no best checkpoint: train it with --evaluate-every 1000 --keep-best kid"
        )
    if stored is None:
        raise UserError(f"{run.path} has no checkpoint yet: train it first (the same command resumes)")
    for text in damage:
        warnings.warn(text, stacklevel=2)
    return Trained(run, stored, device, system)
