"""Building the untrained system of a run."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ganforge.data.sources.catalogue import PYTHON
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.files.code import allow, check_allowed, is_name
from ganforge.runs.checkpoint import LEFT_OUT, Checkpoint
from ganforge.runs.compatibility import current_tensors, without_unknown
from ganforge.runs.folder import RunConfig
from ganforge.system import System, SystemConfig
from ganforge.systems.discovery import find_recorded
from ganforge.systems.families.own_parts import PARTS, named_parts

LEAST_ROOM = 256 * 2**20
RANDOM = threading.RLock()
"""Torch's own random numbers are one sequence for all threads: held by whoever seeds or restores them."""
MANY_PARAMETERS, TIMES, MOST_PARAMETERS = 1000, 20, 5_000
"""How many tensors of parameters a system may have: so many, or so many times those of its checkpoint."""


def build_system(config: RunConfig, typed: str | None = None, checkpoint: Checkpoint | None = None) -> System:
    """The untrained system of a run; its first weights are a function of the seed.

    `typed` as of `find_recorded`. Raises UserError for options that this version does not have, and for
    sizes that are not those of `checkpoint`, before there is memory for them.
    """
    kind = find_recorded(config.system, typed)
    try:
        where = f"config.json of this run, of ganforge {config.ganforge}"
        options = kind.Config.model_validate(without_unknown(kind.Config, config.config, where))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"config.json of this run, of ganforge {config.ganforge}: {config.system} rejects "
            f"{'.'.join(map(str, first['loc'])) or 'these options'} = {repr(first['input'])[:80]} "
            f"({first['msg']}): expected options of this version, or the version that trained it"
        ) from error
    own = named_parts(options)
    for part, name in own.items():
        check_allowed(name, part)
    if checkpoint is not None and ":" not in config.system and not own:  # code of others is trusted
        _check_sizes(kind, options, config.spec, checkpoint)
    with RANDOM:
        torch.manual_seed(config.train.seed)
        return kind(options, config.spec)


def trust(config: RunConfig) -> None:
    """Let the code outside of ganforge that a run names be imported: the user trusts it."""
    allow(own_code(config))


def own_code(config: RunConfig) -> list[str]:
    """The code outside of ganforge that a run names: system, data, networks and loss."""
    parts = (config.config.get(part) for part in PARTS)
    data = config.data.data
    own_data = [data.removeprefix(PYTHON)] if data.startswith(PYTHON) else []
    names = [config.system, *own_data, *filter(None, parts)]
    return [name for name in names if isinstance(name, str) and is_name(name)]


def on_meta(kind: type[System], options: SystemConfig, spec: DataSpec, most: int = MOST_PARAMETERS) -> System:
    """A system without memory, for its shapes; raises TooLarge where it has more than `most` parameters."""
    try:
        with RANDOM, torch.device("meta"), torch.random.fork_rng(devices=[]), _counted(most):
            return kind(options, spec)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        if not is_overflow(error):
            raise
        raise TooLarge("networks of more numbers than any memory holds") from error


class TooLarge(UserError):  # noqa: N818 - said of networks, as their user would
    """Networks that no machine holds."""


def is_overflow(error: Exception) -> bool:
    """Whether there is no number for so many bytes."""
    texts = ("overflow", "storage size", "out of range", "too large")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in texts)


@contextmanager
def _counted(most: int) -> Iterator[None]:
    """Within this context modules take no more than `most` parameters."""
    count = 0

    def take(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += parameter is not None and parameter.is_meta
        if count > most:
            raise TooLarge(f"networks of more than {most:,} parameters")

    hook = register_module_parameter_registration_hook(take)
    try:
        yield
    finally:
        hook.remove()


def _check_sizes(kind: type[System], options: SystemConfig, spec: DataSpec, checkpoint: Checkpoint) -> None:
    """Raise UserError where a system of these options is not the one whose tensors `checkpoint` has."""
    stored: Mapping[str, Tensor] = checkpoint.tensors.get("system", {})
    what = f"checkpoint {checkpoint.path} does not fit its run's config.json"
    try:
        system = on_meta(kind, options, spec, max(MANY_PARAMETERS, TIMES * len(stored)))
    except (UserError, RuntimeError, TypeError, OverflowError, ValueError, MemoryError) as error:
        raise UserError(f"{what}: {(str(error).splitlines() or ['no such networks'])[0][:200]}") from error
    own = dict(system.state_dict())
    stored = current_tensors(stored, own)
    for name, tensor in own.items():
        if name in stored and tensor.shape != stored[name].shape:
            raise UserError(
                f"{what}: {name} is {list(stored[name].shape)} there, {list(tensor.shape)} by config.json"
            )
    left_out = tuple(f"{name}." for name in checkpoint.state.get(LEFT_OUT, ()))
    missing = next((name for name in own if name not in stored and not name.startswith(left_out)), None)
    if missing is not None:
        raise UserError(f"{what}: no {missing} there")
    held = sum(tensor.nbytes for tensor in stored.values())
    all_of_it = chain(system.named_parameters(), system.named_buffers())
    more = sum(tensor.nbytes for name, tensor in all_of_it if name not in stored)
    if more > max(LEAST_ROOM, TIMES * held):
        raise UserError(f"{what}: it asks for {more / 1e9:,.1f} GB that are not there")
