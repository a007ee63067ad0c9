"""The network of a run that is exported: its inputs by name, what it gives, and how exact a copy of it is."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ganforge.data.batch import conditions
from ganforge.errors import UserError
from ganforge.runs.sampling import seeded
from ganforge.runs.trained import Trained
from ganforge.system import LatentSystem, Prior, System, Translates, generates_images, inference_network
from ganforge.version import __version__

LIMIT = 1e-4
"""The largest difference, of values in [-1, 1], between a copy and the network itself."""
BATCHES = (1, 7)
"""The batches at which both are compared."""
OTHER_SIDES = (12, 8)
"""A second size of sources that may have any: so many pixels more each way."""

Kind = Literal["latents", "sources", "images"]
Call = Callable[[tuple[Tensor, ...]], Tensor]


@dataclass(frozen=True)
class Network:
    """The averaged network of a run, in evaluation mode, on the CPU.

    `inputs`: "latents", "sources" (of an image-to-image system) or "images" (of one that generates pixel by
    pixel and gives logits), and then "labels" or "embeddings", where it is conditioned on them.
    """

    trained: Trained
    module: nn.Module
    inputs: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """What the first input is."""
        first: Any = self.inputs[0]
        return first

    @property
    def resizes(self) -> bool:
        """Whether sources may have any height and width: those of a network that sees a part of them only.

        Others have the size of the training.
        """
        system = self.trained.system
        return isinstance(system, Translates) and system.tiling.reach is not None

    def example(self, count: int, seed: int = 0, more: tuple[int, int] = (0, 0)) -> tuple[Tensor, ...]:
        """Inputs of a batch, drawn by the seed; height and width of sources are larger by `more`."""
        spec, draw = self.trained.run.config.spec, seeded(seed, torch.device("cpu"))
        parts = {}
        for name in self.inputs:
            if name == "latents":
                parts[name] = self.trained.draw_latents(count, seed)
            elif name == "labels":
                parts[name] = torch.randint(len(spec.class_names), (count,), generator=draw)
            elif name == "embeddings":
                texts = torch.randn(count, spec.embedding_size, generator=draw)
                parts[name] = nn.functional.normalize(texts) * spec.embedding_size**0.5
            else:
                channels, *sides = spec.shape if name == "images" else spec.source_shape or spec.shape
                height, width = (side + extra for side, extra in zip(sides, more, strict=True))
                parts[name] = 2 * torch.rand(count, channels, height, width, generator=draw) - 1
        return tuple(parts[name] for name in self.inputs)

    def eager(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What the run itself makes of `inputs`.

        Of pix2pix, whose dropout is random, what its network makes without dropout.
        """
        parts = dict(zip(self.inputs, inputs, strict=True))
        if self.kind == "latents":
            latents = parts.pop("latents")
            return self.trained.decode(latents, conditions(**parts) if parts else None).as_subclass(Tensor)
        with torch.no_grad():
            if self.kind == "sources" and self.trained.run.config.system != "pix2pix":
                (made,) = self.trained.call("translate", [parts["sources"]])
                return made
            return self.module(*inputs)

    def about(self) -> dict[str, Any]:
        """What a program needs to know besides, to draw samples: JSON."""
        config, spec = self.trained.run.config, self.trained.run.config.spec
        about = {
            "ganforge": __version__,
            "system": config.system,
            "step": self.trained.step,
            "inputs": list(self.inputs),
            "shape": list(spec.shape),
            "values": spec.kind,
            "classes": list(spec.class_names) if "labels" in self.inputs else [],
        }
        if self.kind == "latents":
            assert isinstance(self.trained.system, LatentSystem)
            about["latents"] = [_part(part) for part in self.trained.system.prior]
        elif self.kind == "sources":
            about |= {"source_shape": list(spec.source_shape or ()), "resizes": self.resizes}
        else:
            about["levels"] = config.config["levels"]
        if "embeddings" in self.inputs:
            about["embedding_size"] = spec.embedding_size
        return about


def _part(prior: Prior) -> dict[str, Any]:
    part: dict[str, Any] = {"kind": prior.kind, "size": prior.size}
    if prior.kind == "uniform":
        part |= {"low": prior.low, "high": prior.high}
    if prior.mean is not None and prior.root is not None:
        part |= {"mean": prior.mean.tolist(), "root": prior.root.tolist()}
    return part


def network_of(trained: Trained) -> Network:
    """The network of `trained` that is exported; raises UserError where there is none."""
    system, name = trained.system, trained.run.config.system
    if not generates_images(system):
        raise UserError(f"{name} encodes captions and makes no images: export a run of another system")
    if system.device.type != "cpu":
        raise UserError(f"the run is on {system.device.type}: load it with device='cpu' to export it")
    first = "latents" if isinstance(system, LatentSystem) else "images"
    if isinstance(system, Translates):
        first = "sources"
    given = [part for part in ("labels", "embeddings") if part in system.conditions]
    network = Network(trained, inference_network(system).eval(), (first, *given))
    if isinstance(system, LatentSystem):
        described, drawn = sum(part.size for part in system.prior), network.example(1)[0].shape[1]
        if described != drawn:
            raise UserError(f"prior of {name} has {described} numbers, draw_latents {drawn}: fix one of them")
    return network


def to_program(network: Network) -> ExportedProgram:
    """The network as a program of tensors; the batch is dynamic, and where it `resizes` the sides too.

    Raises UserError where torch cannot trace it.
    """
    inputs, batch = network.example(2), Dim("batch")
    shapes: list[dict[int, Any]] = [{0: batch} for _ in inputs]
    if network.resizes:
        shapes[0] |= {2: Dim("height"), 3: Dim("width")}
    try:
        with quiet(), torch.no_grad():
            return torch.export.export(network.module, inputs, dynamic_shapes=tuple(shapes))
    except Exception as error:  # whatever the tracer meets in code of others
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"torch cannot export {network.trained.run.config.system}: {first}") from error


def differences(network: Network, call: Call, batches: Sequence[int] = BATCHES) -> dict[int, float]:
    """The largest difference between `call` and the network itself, by batch.

    Sources of a second size count as well. Infinite where a result has another shape or is not a number.
    """
    found = {}
    for count in batches:
        sizes = [(0, 0), OTHER_SIDES] if network.resizes else [(0, 0)]
        found[count] = max(_difference(network, call, network.example(count, count, more)) for more in sizes)
    return found


def _difference(network: Network, call: Call, inputs: tuple[Tensor, ...]) -> float:
    expected, made = network.eager(inputs), call(inputs).detach()
    if expected.shape != made.shape:
        return float("inf")
    return float((expected.double() - made.double()).abs().max().nan_to_num(float("inf")))


def check_equal(found: dict[int, float], what: str, limit: float = LIMIT) -> None:
    """Raise UserError where a difference is above `limit`."""
    if not max(found.values()) <= limit:
        raise UserError(
            f"{what} differs from the run by {max(found.values()):.2g}, above {limit:g}: nothing was written"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Within this context torch's exporters do not tell users of their own affairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def describe_inputs(network: Network) -> dict[str, str]:
    """Type, shape and range of each input, in words."""
    spec, texts = network.trained.run.config.spec, {}
    for name, part in zip(network.inputs, network.example(1), strict=True):
        sizes = ["batch", *map(str, part.shape[1:])]
        if name == "sources" and network.resizes:
            sizes[2:] = ["height", "width"]
        kind = "int64" if part.dtype == torch.int64 else "float32"
        texts[name] = (
            f"{kind} `[{', '.join(sizes)}]`, "
            + {
                "latents": _describe_prior(network.trained.system),
                "labels": f"class numbers from 0 to {len(spec.class_names) - 1}",
                "embeddings": "captions by the run's text encoder (ganforge.text.embeddings.embed_texts)",
                "sources": "images in [-1, 1]",
                "images": "in [-1, 1], as far as they are made",
            }[name]
        )
    return texts


def _describe_prior(system: System) -> str:
    """How each part of the latents is drawn, in words; numbers that are many are in the metadata."""
    parts = system.prior if isinstance(system, LatentSystem) else ()
    texts = (
        {
            "gaussian": f"{part.size} numbers, standard normal",
            "uniform": f"{part.size} numbers, uniform from {part.low:g} to {part.high:g}",
            "sphere": f"{part.size} numbers, standard normal, scaled to the length {part.size**0.5:.6g}",
            "category": f"one 1 at random among {part.size} numbers, the others 0",
            "correlated": f"{part.size} numbers, `mean + root @ normal`, with `mean` and `root` from the "
            "metadata `ganforge` of the file with the weights",
        }[part.kind]
        for part in parts
        if part.size
    )
    return ", then ".join(texts)


def describe_output(network: Network) -> str:
    """Type, shape and range of the output, in words."""
    spec = network.trained.run.config.spec
    channels, height, width = map(str, spec.shape)
    if network.kind == "images":
        levels = network.trained.run.config.config["levels"]
        shape = f"batch, {levels}, {channels}, {height}, {width}"
        return f"`logits` float32 `[{shape}]` of the levels of each sub-pixel, given those before it"
    if network.resizes and isinstance(network.trained.system, Translates):
        scale = network.trained.system.tiling.scale
        height, width = f"{scale} height", f"{scale} width"
    values = "2-D points" if spec.values == "points" else "in [-1, 1]"
    return f"`images` float32 `[batch, {channels}, {height}, {width}]`, {values}"
