"""Beginning with the weights of another run: which networks, from where, and whether they fit."""

from dataclasses import dataclass

from torch import Tensor

from ganforge.errors import UserError
from ganforge.system import System


@dataclass(frozen=True)
class Start:
    """The weights that a run begins with, under the names of its own networks.

    `networks`, own child -> where it is from, in words, must come whole; of the rest whatever tensors have a
    name and shape of this run's are taken.
    """

    weights: dict[str, Tensor]
    networks: dict[str, str]


def start_weights(system: System, start: Start) -> None:
    """Copy the weights of `start` into `system`; raises UserError where they do not fit."""
    own = system.state_dict()
    for name, source in start.networks.items():
        for key in sorted(key for key in own if key.startswith(f"{name}.")):
            there = start.weights.get(key)
            if there is None or there.shape != own[key].shape:
                has = "is not there" if there is None else f"has the shape {list(there.shape)} there"
                raise UserError(
                    f"--from: the {source} does not fit: {key} {has} and {list(own[key].shape)} here: use "
                    "its options and its kind of data"
                )
    fitting = {name: t for name, t in start.weights.items() if name in own and own[name].shape == t.shape}
    if not fitting:
        raise UserError("--from: no network of that run has the names and shapes of this one")
    system.load_state_dict(own | fitting)
