"""Which weights of one system's networks fit those of another, by their places and shapes alone.

Networks may differ in resolution, number of classes and image channels. What those change shows where the
system is built for such data, without memory ("meta"). Numbered layers are compared from the coarsest
maps on: a generator's from its first layer, those of a network with `image_first` from its last.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.runs.build import on_meta
from ganforge.system import System, SystemConfig, networks

Shape = tuple[int, ...]
SPECTRAL = ".parametrizations."
WIDTHS = [2**power for power in range(2, 11)]
"""Tried where the config leaves a width to the system."""


@dataclass(frozen=True)
class Blueprint:
    """A system's tensors as shapes, and what they are: `kind` with `config` for data like `spec`.

    `system` is on the meta device. `class_axes` and `channel_axes`: tensor -> the axis that grows with the
    number of classes, or with the channels of the images.
    """

    system: System
    spec: DataSpec
    class_axes: Mapping[str, int]
    channel_axes: Mapping[str, int]

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of every tensor, by name."""
        return _shapes(self.system)


@dataclass(frozen=True)
class Fit:
    """Own tensor -> the other's tensor that it is made of; `shares` of each network's parameters, 0 to 1.

    Tensors outside of the networks, such as the probability of ADA, are taken too; no share counts them.
    """

    sources: Mapping[str, str]
    shares: Mapping[str, float]

    @property
    def count(self) -> float:
        """A measure for comparing fits: the sum of the shares."""
        return sum(self.shares.values())


def blueprint(kind: type[System], config: SystemConfig, spec: DataSpec) -> Blueprint:
    """The blueprint of a system; raises UserError as the system does for other data."""
    system = on_meta(kind, config, spec)
    classes = spec.model_copy(update={"class_names": (*spec.class_names, "another")})
    channels = spec.model_copy(update={"channels": 3 if spec.channels == 1 else 1})
    pixels = spec.values == "pixels"
    return Blueprint(
        system,
        spec,
        _changed_axes(system, kind, config, classes) if spec.class_names else {},
        _changed_axes(system, kind, config, channels) if pixels else {},
    )


def _shapes(system: nn.Module) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in system.state_dict().items()}


def _changed_axes(system: System, kind: type[System], config: SystemConfig, spec: DataSpec) -> dict[str, int]:
    """The one axis of each tensor that is another for data like `spec`; none where these are rejected."""
    try:
        others = _shapes(on_meta(kind, config, spec))
    except UserError:
        return {}
    axes = {}
    for name, shape in _shapes(system).items():
        there = others.get(name, ())
        differing = [
            axis for axis, sizes in enumerate(zip(shape, there, strict=False)) if len(set(sizes)) > 1
        ]
        if len(there) == len(shape) and len(differing) == 1:
            axes[name] = differing[0]
    return axes


def fit(own: Blueprint, theirs: Mapping[str, Shape], spec: DataSpec) -> Fit:
    """How tensors of the shapes `theirs`, of a system for data like `spec`, fit into `own`."""
    sources: dict[str, str] = {}
    for place in _image_first(own.system):
        sources |= _from_the_last(own, theirs, spec, place)
    used = set(sources.values())
    shapes = own.shapes
    for names in _by_module(name for name in shapes if name not in sources):
        if all(
            name in theirs and name not in used and _fits(own, name, theirs[name], spec) for name in names
        ):
            sources |= {name: name for name in names}
    return Fit(sources, _shares(own, sources, spec))


def _image_first(system: nn.Module) -> list[str]:
    """The names of the numbered layers of `system` that begin at the image."""
    return [
        f"{name}.{container}"
        for name, module in system.named_modules()
        if (container := getattr(type(module), "image_first", None))
    ]


def _from_the_last(own: Blueprint, theirs: Mapping[str, Shape], spec: DataSpec, place: str) -> dict[str, str]:
    """The layers under `place` that fit, each as a whole, counted from the last."""
    mine, others = _numbered(own.shapes, place), _numbered(theirs, place)
    if not mine or not others:
        return {}
    shift = max(others) - max(mine)
    sources: dict[str, str] = {}
    for number, names in mine.items():
        pairs = {name: name.replace(f"{place}.{number}.", f"{place}.{number + shift}.", 1) for name in names}
        if all(source in theirs and _fits(own, name, theirs[source], spec) for name, source in pairs.items()):
            sources |= pairs
    return sources


def _numbered(shapes: Iterable[str], place: str) -> dict[int, list[str]]:
    """The tensors of each numbered layer under `place`."""
    layers: dict[int, list[str]] = {}
    for name in shapes:
        if name.startswith(f"{place}."):
            number = name.removeprefix(f"{place}.").partition(".")[0]
            if number.isdecimal():
                layers.setdefault(int(number), []).append(name)
    return layers


def _by_module(names: Iterable[str]) -> Iterator[list[str]]:
    """The tensors of each module together: a bias alone is of no use."""
    modules: dict[str, list[str]] = {}
    for name in names:
        modules.setdefault(module_of(name), []).append(name)
    return iter(modules.values())


def module_of(name: str) -> str:
    """The module that a tensor belongs to."""
    return name.partition(SPECTRAL)[0] if SPECTRAL in name else name.rpartition(".")[0]


def _fits(own: Blueprint, name: str, there: Shape, spec: DataSpec) -> bool:
    here = own.shapes[name]
    if here == there:
        return True
    if len(here) != len(there):
        return False
    (axis, *more) = [axis for axis, sizes in enumerate(zip(here, there, strict=True)) if len(set(sizes)) > 1]
    if more:
        return False
    if axis == own.class_axes.get(name) and spec.class_names:
        return here[axis] - len(own.spec.class_names) == there[axis] - len(spec.class_names)
    return (
        axis == own.channel_axes.get(name) and here[axis] * spec.channels == there[axis] * own.spec.channels
    )


def _shares(own: Blueprint, sources: Mapping[str, str], spec: DataSpec) -> dict[str, float]:
    known = sum(name in spec.class_names for name in own.spec.class_names)
    shares = {}
    for network, child in networks(own.system).items():
        taken = total = 0.0
        for key, parameter in child.named_parameters():
            name, size = f"{network}.{key}", parameter.numel()
            total += size
            if name in sources:
                axis = own.class_axes.get(name)
                new = 0 if axis is None else (len(own.spec.class_names) - known) / parameter.shape[axis]
                taken += size * (1 - new)
        shares[network] = taken / total
    return shares


def take(own: Blueprint, found: Fit, weights: Mapping[str, Tensor], spec: DataSpec) -> dict[str, Tensor]:
    """The tensors of `found`, made of the other's `weights` for data like `spec`, in the shapes of `own`.

    Rows of classes go by the names of the classes, a new class gets the mean of all; a colour image sees and
    makes of each channel what the grey one did, and the reverse.
    """
    tensors = {}
    for name, source in found.sources.items():
        tensor = weights[source]
        if name in own.class_axes and spec.class_names and own.spec.class_names != spec.class_names:
            tensor = _by_class(tensor, own.class_axes[name], spec.class_names, own.spec.class_names)
        if name in own.channel_axes and own.spec.channels != spec.channels:
            axis = own.channel_axes[name]
            counts = spec.channels, own.spec.channels
            tensor = _by_channel(tensor, axis, *counts, sums=_is_input(own.system, name, axis))
        tensors[name] = tensor
    return tensors


def _by_class(tensor: Tensor, axis: int, then: tuple[str, ...], now: tuple[str, ...]) -> Tensor:
    rows = tensor.movedim(axis, 0)
    base, classes = rows[: len(rows) - len(then)], rows[len(rows) - len(then) :]
    mean = classes.mean(0)
    own = [classes[then.index(name)] if name in then else mean for name in now]
    return torch.cat([base, torch.stack(own)]).movedim(0, axis).contiguous()


def _by_channel(tensor: Tensor, axis: int, then: int, now: int, *, sums: bool) -> Tensor:
    parts = tensor.unflatten(axis, (then, -1))
    one = parts.sum(axis, keepdim=True) / now if sums else parts.mean(axis, keepdim=True)
    repeats = [now if place == axis else 1 for place in range(one.dim())]
    return one.repeat(repeats).flatten(axis, axis + 1)


def _is_input(system: System, name: str, axis: int) -> bool:
    """Whether the axis counts what a layer is given, so that its parts are summed."""
    return axis == 1 and not isinstance(system.get_submodule(module_of(name)), nn.ConvTranspose2d)


def stages(network: nn.Module) -> list[list[nn.Module]]:
    """The stages of a network with `image_first`, from the image on: each begins at a layer with a matrix."""
    container = getattr(type(network), "image_first", None)
    if container is None:
        return []
    found: list[list[nn.Module]] = []
    for layer in getattr(network, container):
        if any(parameter.dim() > 1 for parameter in layer.parameters()):
            found.append([])
        if found:
            found[-1].append(layer)
    before = []
    for name, child in network.named_children():
        if name == container:
            break
        before.append(child)  # what the image goes through before
    if found:
        found[0] = [*before, *found[0]]
    return found


def suited_fields(
    kind: type[System],
    spec: DataSpec,
    defaults: Mapping[str, Any],
    parent: Blueprint,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Of the parent's config `values` those that shape the networks, for another resolution scaled to fit.

    Field -> value, where it is needed for as much to fit as can; `defaults` are the other fields. Choices
    (names, yes or no) are inherited all.
    """
    theirs = parent.shapes

    def fitting(fields: Mapping[str, Any]) -> float:
        try:
            own = blueprint(kind, kind.Config.model_validate({**defaults, **fields}), spec)
        except (UserError, ValueError):
            return -1.0
        return fit(own, theirs, parent.spec).count

    own_fields = [name for name in kind.Config.model_fields if name not in SystemConfig.model_fields]
    chosen = {name: values[name] for name in own_fields if name in values}
    if fitting(chosen) < 0:
        chosen = {name: value for name, value in chosen.items() if fitting({name: value}) >= 0}
    best = fitting(chosen)
    for name, value in list(chosen.items()):
        for other in _scaled(kind, name, value, parent.spec.height, spec.height):
            if (count := fitting(chosen | {name: other})) > best:
                chosen[name], best = other, count
    for name, value in list(chosen.items()):
        if value != values[name] and (count := fitting(chosen | {name: values[name]})) >= best:
            chosen[name], best = values[name], count
        rest = {other: value for other, value in chosen.items() if other != name}
        if not isinstance(chosen[name], str | bool) and fitting(rest) == best:
            chosen = rest
    return chosen


def _scaled(kind: type[System], name: str, value: object, then: int, now: int) -> list[int]:
    """Other values of a width, which is that of the finest maps, with which the coarsest may be equal."""
    kinds = get_args(kind.Config.model_fields[name].annotation)
    if value is None and any(get_args(each)[:1] == (int,) for each in kinds):  # PositiveInt | None
        return WIDTHS
    if then == now or not isinstance(value, int) or isinstance(value, bool):
        return []
    return [scaled] if (scaled := value * then // now) else []
