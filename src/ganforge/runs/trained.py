"""A trained run, ready to sample: `ganforge.load(path).sample(16, seed=7)`."""

import hashlib
import operator
import warnings
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch, conditions
from ganforge.distributed import Shard
from ganforge.errors import UserError, printable
from ganforge.runs import sampling
from ganforge.runs.build import build_system, trust
from ganforge.runs.checkpoint import (
    LEFT_OUT,
    Checkpoint,
    committed,
    load_checkpoint,
    load_newest,
    load_shared,
    save_checkpoint,
)
from ganforge.runs.compatibility import current_tensors
from ganforge.runs.device import choose_device, lay_out
from ganforge.runs.ema import Average
from ganforge.runs.folder import SHARED, Run
from ganforge.runs.hub import HUB, open_hub
from ganforge.runs.samples import Samples
from ganforge.system import DRAWING, Discriminates, HasCodes, LatentSystem, System, networks
from ganforge.systems.discovery import available, find

Weights = Literal["ema", "raw"]
Which = int | str
"""A checkpoint: "newest", "best", or the step of a kept one."""
Label = int | str
SHOWN_CLASSES = 20
NUM_SHOWN = 16
"""Samples of a run that a notebook shows."""
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
            "this run has no discriminator: train one of your own (packaged and imported runs leave it out)"
        )

    def features(self, images: Tensor) -> Tensor:
        """Nothing."""
        return self(images)


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
    """The system of a run at a checkpoint, or without one as it was before training, in evaluation mode.

    `system` is what is sampled: its networks have the averaged weights where the run has some. `raw` is the
    same system with the weights that the last step left; it is `system` itself in a run without an average.
    Sampling changes neither, nor torch's random numbers, so that threads may share a run.
    """

    def __init__(
        self, run: Run, checkpoint: Checkpoint | None, device: str = "auto", system: str | None = None
    ) -> None:
        self.run = run
        self.step = 0 if checkpoint is None else int(checkpoint.state["step"])
        with torch.random.fork_rng(devices=[]):  # the caller's random state is left as it was
            self.raw = build_system(run.config, system, checkpoint)
        self._average = Average(self.raw)
        if checkpoint is not None:
            self._load(checkpoint)
        for network in (self.raw, *self._average.networks.values()):
            network.to(choose_device(device))
            lay_out(network)
            network.eval()
        self.system = self._average.averaged(self.raw)
        self._hashes: dict[Weights, str] = {}

    def __repr__(self) -> str:
        config = self.run.config
        size = "x".join(map(str, config.spec.shape))
        return (
            f"<Trained {config.system} on {config.data.data}: {self.run.path}, step {self.step:,}, "
            f"{size} {config.spec.values}, {self.system.device.type}>"
        )

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and samples of a run that decodes latents, which is fast."""
        text = f"<p>{escape(repr(self))}</p>"
        if "sources" in self.system.conditions or not isinstance(self.system, LatentSystem):
            return text
        try:
            content = self.sample(NUM_SHOWN)._repr_png_()
        except UserError:  # such as one that needs captions
            content = None
        if content is None:
            return text
        return f'{text}<img alt="samples" src="data:image/png;base64,{b64encode(content).decode()}">'

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The raw and the averaged weights by name, as a checkpoint has them."""
        return {"system": self.raw.state_dict(), "average": self._average.state()}

    def resolve_weights(self, weights: Weights) -> Weights:
        """The weights that `weights` gives: a run without an average has only raw ones."""
        return weights if self._average.networks else "raw"

    def hash_weights(self, weights: Weights = "ema") -> str:
        """A SHA-256 of the weights that are sampled, as they are when it is first read."""
        if weights not in self._hashes:
            digest = hashlib.sha256()
            for name, tensor in sorted(self.with_weights(weights).state_dict().items()):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().numpy().tobytes())
            self._hashes[weights] = digest.hexdigest()
        return self._hashes[weights]

    def with_weights(self, weights: Weights) -> System:
        """`system`, or with "raw" `raw`; raises UserError where one was put into training mode."""
        system = self.raw if weights == "raw" else self.system
        if any(module.training for module in system.modules()):
            which = "raw" if weights == "raw" else "system"
            raise UserError(
                f"a network of this run is in training mode, where samples depend on one another: call "
                f"`trained.{which}.eval()` first"
            )
        return system

    def _load(self, checkpoint: Checkpoint) -> None:
        children = networks(self.raw)
        for name in checkpoint.state.get(LEFT_OUT, ()):
            if name not in children:
                raise UserError(f"checkpoint {checkpoint.path} leaves out {printable(name)[:80]}, no network")
            setattr(self.raw, name, RemovedNetwork())
        try:
            own = self.raw.state_dict()
            self.raw.load_state_dict(current_tensors(checkpoint.tensors["system"], own))
            self._average.load(current_tensors(checkpoint.tensors["average"], own))
        except (KeyError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise UserError(
                f"checkpoint {checkpoint.path} is not of this version's networks: {first}"
            ) from error
        tensors = ((name, t) for group in self.tensors().values() for name, t in group.items())
        if broken := next((name for name, tensor in tensors if not tensor.isfinite().all()), None):
            warnings.warn(
                f"checkpoint {checkpoint.path} has NaN or infinity in {broken}: samples mean nothing",
                stacklevel=4,
            )

    def sample(
        self,
        count: int,
        *,
        seed: int = 0,
        weights: Weights = "ema",
        labels: Sequence[Label] | None = None,
        given: Batch | None = None,
    ) -> Samples:
        """`count` samples `[count, channels, height, width]` in [-1, 1] (or points), by the seed.

        A tensor whose `pil()` gives PIL images, and which a notebook shows as a grid.

        `labels` as of `conditions`, or other conditions as `given`; missing ones are drawn at random.
        Raises UserError for labels that the run does not have.
        """
        if count < 1:
            raise UserError(f"count is {count}: expected 1 or more")
        if labels is not None:
            if given is not None:
                raise UserError("labels and given: expected one of them, since given holds labels")
            given = self.conditions(labels, count)
        samples = torch.cat(list(self.draw(count, seed=seed, weights=weights, given=given)))
        return samples.as_subclass(Samples)

    def draw(
        self, count: int, *, seed: int = 0, weights: Weights = "ema", given: Batch | None = None
    ) -> Iterator[Tensor]:
        """The same samples, some at a time, so that many never sit in memory at once."""
        yield from sampling.draw(self.with_weights(weights), count, seed, given)

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
        yield from sampling.draw_share(self.with_weights(weights), count, seed, given, share)

    def draw_chunks(
        self,
        count: int,
        wanted: Sequence[slice],
        *,
        seed: int = 0,
        weights: Weights = "ema",
        given: Batch | None = None,
    ) -> Iterator[Tensor]:
        """Of the same samples the chunks (`sampling.chunks`) whose rows are `wanted`, in order.

        Raises `sampling.NotApart` where they cannot be drawn without those before them.
        """
        system = self.with_weights(weights)
        for _, part in sampling.draw_some(system, count, seed, given, wanted):
            yield part

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
        system = self.with_weights(weights)
        generator = sampling.seeded(seed, system.device)
        random = {"generator": generator} if method in DRAWING else {}
        for part in parts:
            arguments = part if isinstance(part, tuple) else (part,)
            with torch.no_grad():
                result = getattr(system, method)(*(_on(a, system.device) for a in arguments), **random)
            yield _on_cpu(result)

    @property
    def has_discriminator(self) -> bool:
        """Whether `discriminate` can be called: runs that came with the package have no discriminator."""
        removed = isinstance(getattr(self.system, "discriminator", None), RemovedNetwork)
        return isinstance(self.system, Discriminates) and not removed

    def draw_latents(self, count: int, seed: int = 0, weights: Weights = "ema") -> Tensor:
        """The latents `[count, ...]` behind the samples of this count and seed.

        Raises UserError where the system decodes no latents.
        """
        return sampling.draw_latents(self._latent_system(weights), count, seed)

    def set_code(self, latents: Tensor, index: int, values: Tensor | float) -> Tensor:
        """A copy of `latents` whose code number `index` has the value, or each its own of `values` `[count]`.

        Raises UserError where the system has no such code, or a value is out of its range.
        """
        if not isinstance(self.system, HasCodes):
            raise UserError(f"{self.run.config.system} has no codes: use a run of infogan")
        return self.system.set_code(latents, index, torch.as_tensor(values).expand(len(latents)))

    def decode(self, latents: Tensor, given: Batch | None = None, weights: Weights = "ema") -> Samples:
        """Images in [-1, 1] (or points) of `latents` `[count, ...]`, on the CPU; raises as `draw_latents`."""
        images = torch.cat(list(sampling.decode(self._latent_system(weights), latents, given)))
        return images.as_subclass(Samples)

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

    def _latent_system(self, weights: Weights) -> LatentSystem:
        system = self.with_weights(weights)
        if not isinstance(system, LatentSystem):
            raise UserError(f"{self.run.config.system} decodes no latents: draw samples instead")
        return system


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
    out.mkdir(parents=True, exist_ok=True)
    Run(out, trained.run.config).write_config(trained.run.config)
    save_checkpoint(out / "checkpoints", trained.step, trained.tensors(), {"step": trained.step}, keep=1)


def load(
    path: str | Path,
    device: str = "auto",
    checkpoint: Which = "newest",
    system: str | None = None,
    *,
    trust_code: bool = False,
) -> Trained:
    """The system of the run folder `path` at its newest good checkpoint, the best, or one by its step.

    `hf:owner/name` is a model on the Hugging Face hub that `ganforge export hub` wrote. Needs no data. A run
    that names code outside of ganforge loads only with `trust_code`, or where this process has named it, a
    system by `system`, `package.module:Class`. Warns of damaged checkpoints; raises UserError where there is
    no run or no usable checkpoint.
    """
    run = open_hub(str(path)) if str(path).startswith(HUB) else Run.open(Path(path))
    if trust_code:
        trust(run.config)
    damage: list[str] = []
    stored = _checkpoint(run, checkpoint, damage)
    for text in damage:
        warnings.warn(text, stacklevel=2)
    return Trained(run, stored, device, system)


def _checkpoint(run: Run, which: Which, damage: list[str]) -> Checkpoint:
    """The checkpoint that is wanted; damaged ones that are passed over go to `damage`."""
    if run.shared and which in ("newest", "best"):
        return load_shared(run.path / SHARED)
    if which in ("newest", "best"):
        stored = load_newest(run.best if which == "best" else run.checkpoints, damage)
        if stored is not None:
            return stored
        if which == "best":
            raise UserError(
                f"{run.path} has kept no best checkpoint: train it with --evaluate-every 1000 --keep-best kid"
            )
        raise UserError(f"{run.path} has no checkpoint yet: train it first, or `ganforge resume {run.path}`")
    kept = {int(path.name): path for folder in (run.best, run.checkpoints) for path in committed(folder)}
    step = int(which) if str(which).isdecimal() else None
    if step in kept:
        return load_checkpoint(kept[step])
    steps = ", ".join(map(str, sorted(kept))) or "none"
    raise UserError(
        f"{run.path} has no checkpoint {printable(str(which))}: expected newest, best or the step of a kept "
        f"one ({steps}); `ganforge train --keep 10` keeps more"
    )
