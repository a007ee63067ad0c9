"""One training by several processes of torchrun: process 0 leads and writes, the others follow its steps."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch

from ganforge.data.own import OwnData
from ganforge.distributed import Shard, joined
from ganforge.errors import UserError
from ganforge.runs.build import trust
from ganforge.runs.checkpoint import Checkpoint
from ganforge.runs.folder import Run, RunConfig
from ganforge.text.embeddings import data_of
from ganforge.training.state import Training, build_loader, build_training, load_state, pack_state
from ganforge.training.update import OptimizerUpdate
from ganforge.version import __version__

_END, _STEP, _CHECKED_STEP, _RELOAD = range(4)
_AT_ONCE = 1 << 20


@dataclass
class Leader:
    """What process 0 does besides training, so that the others do the steps that it does; alone nothing."""

    shard: Shard = field(default_factory=Shard)
    _begun: bool = False
    _between_steps: bool = True

    def begin(self, run: Run, training: Training) -> None:
        """Have the others open `run` and start from the state of `training`."""
        if self.shard.ranks == 1:
            return
        self._between_steps = False
        facts = _facts(run.config)
        self.shard.lead({"run": str(run.path.resolve()), "facts": facts})
        _agree(self.shard, facts, facts)
        training.shard = self.shard
        _send_state(training)
        self._begun = self._between_steps = True

    @contextmanager
    def step(self, training: Training, *, checked: bool) -> Iterator[None]:
        """Within this context all processes do the next step; `checked`: then their weights are compared."""
        if self.shard.ranks == 1:
            yield
            return
        self._between_steps = False
        self.shard.command(_CHECKED_STEP if checked else _STEP)
        yield
        if checked:
            _check_equal(training)
        self._between_steps = True

    def reload(self, training: Training) -> None:
        """Put the others where `training` is."""
        if self.shard.ranks > 1:
            self.shard.command(_RELOAD)
            _send_state(training)

    def end(self) -> None:
        """Let the others go, but where a step has failed midway: they have failed too, or will not answer."""
        if self.shard.ranks == 1 or not self._between_steps:
            return
        self._between_steps = False
        if self._begun:
            self.shard.command(_END)
        else:
            self.shard.lead(None)


@contextmanager
def leading() -> Iterator[Leader]:
    """Within this context this process leads those that torchrun has started with it, if any."""
    with joined() as shard:
        leader = Leader(shard)
        try:
            yield leader
        finally:
            leader.end()


def follow(own: OwnData | None = None) -> Path | None:
    """Do the steps that process 0 does, until it ends; the run folder, None where nothing was trained.

    `own` are the data, where a program passed them to `train`. Raises UserError where this process has
    another version or other data than process 0.
    """
    with joined() as shard:
        begun = shard.followed()
        if begun is None:
            return None
        run = Run.open(Path(begun["run"]))
        trust(run.config)  # process 0 was allowed to by the same command
        _agree(shard, begun["facts"], _facts(run.config))
        dataset = data_of(run, own)
        training = build_training(run.config, dataset)
        training.shard = shard
        skip = run.config.train.on_nan == "skip"
        update = OptimizerUpdate(training.optimizers, training.device.type, skip=skip, mean=shard.mean)
        loader = build_loader(run.config, dataset, training.system.images_per_step(), training.part)
        command = _RELOAD
        while command != _END:
            if command == _RELOAD:
                _receive_state(training, run)
                training.system.train()
                batches = loader.iterate(training.images)
            else:
                training.advance(next(batches).to(training.device), update)
                if command == _CHECKED_STEP:
                    _check_equal(training)
            command = shard.commanded()
        return run.path


def _facts(config: RunConfig) -> dict[str, str]:
    """What must be the same in all processes, in words -> its value."""
    options = json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()
    return {
        "version of ganforge": __version__,
        "version of torch": torch.__version__,
        "run": hashlib.sha256(options).hexdigest()[:16],
    }


def _agree(shard: Shard, expected: dict[str, str], own: dict[str, str]) -> None:
    """Raise UserError, in all processes, where the facts of one are not those of process 0."""
    digests = [hashlib.sha256(own[name].encode()).digest()[:8] for name in sorted(own)]
    found = shard.compare(torch.tensor([int.from_bytes(each, "big", signed=True) for each in digests]))
    if found is None:
        return
    rank, name = found[0], sorted(own)[found[1]]
    values = f": {own[name]}, expected {expected[name]}" if rank == shard.rank else ""
    raise UserError(f"process {rank} of {shard.ranks} has another {name} than process 0{values}")


def _send_state(training: Training) -> None:
    tensors, state = pack_state(training)
    flat = {
        f"{file}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for file, named in tensors.items()
        for name, tensor in named.items()
    }
    training.shard.lead(state)
    training.shard.send(safetensors.torch.save(flat))


def _receive_state(training: Training, run: Run) -> None:
    state = training.shard.followed()
    tensors: dict[str, dict[str, torch.Tensor]] = {
        file: {} for file in ("system", "average", "optimizers", "random")
    }
    for full, tensor in safetensors.torch.load(training.shard.received()).items():
        file, _, name = full.partition("/")
        tensors[file][name] = tensor
    load_state(training, Checkpoint(run.path, tensors, state))


def _check_equal(training: Training) -> None:
    """Raise UserError, in all processes, where the weights of one are not those of process 0.

    Faulty memory, or a network that draws numbers of its own, otherwise goes unnoticed.
    """
    named = [item for item in training.system.state_dict().items() if item[1].numel()]
    sums = torch.stack([_checksum(tensor) for _, tensor in named]).cpu()
    if (found := training.shard.compare(sums)) is not None:
        rank, name = found[0], named[found[1]][0]
        raise UserError(
            f"process {rank} of {training.shard.ranks} has other weights than process 0 by step "
            f"{training.step}, first {name}: its machine computes wrongly, or the system draws numbers that "
            "no seed decides: type the same command again to continue from the newest checkpoint"
        )


def _checksum(tensor: torch.Tensor) -> torch.Tensor:
    """A sum, int64, that changes with every bit of `tensor` and with the places of its numbers."""
    flat = tensor.detach().contiguous().flatten()
    words = flat.view(torch.int32 if flat.element_size() % 4 == 0 else torch.uint8)
    total = torch.zeros((), dtype=torch.int64, device=flat.device)
    for part in words.split(_AT_ONCE):  # as int64 they take twice the memory
        places = torch.arange(1, len(part) + 1, device=part.device)
        total = total * 31 + (part.long() * places).sum()
    return total
