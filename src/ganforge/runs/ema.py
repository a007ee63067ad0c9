"""The moving average of weights (EMA) that is sampled and evaluated."""

import copy

import torch
from torch import Tensor, nn

from ganforge.system import System


class Average:
    """Exponential moving averages of the children that a system names in `averaged`.

    After every step `average <- beta average + (1 - beta) weights`, `beta = 0.5^(step images / half-life)`,
    and the half-life, in images, is at most `ramp_up` times the images seen (Karras et al. 2020, appendix D).
    Buffers such as batch-norm statistics are averaged too, so that they belong to the averaged weights.
    """

    def __init__(self, system: System) -> None:
        self.half_life = system.config.ema_half_life
        self.ramp_up = system.config.ema_ramp_up
        names = system.averaged if self.half_life > 0 else ()
        self.networks: dict[str, nn.Module] = {}
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._copied: list[tuple[Tensor, Tensor]] = []
        for name in names:
            source = system.get_submodule(name)
            average = copy.deepcopy(source).requires_grad_(False).eval()
            self.networks[name] = average
            for own, other in zip(_tensors(average), _tensors(source), strict=True):
                (self._pairs if own.is_floating_point() else self._copied).append((own, other))

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Update the average after a step of `images` images, `images_seen` counted with them."""
        if not self._pairs:
            return
        half_life = min(self.half_life, self.ramp_up * images_seen)
        weight = 1 - 0.5 ** (images / half_life)
        torch._foreach_lerp_([own for own, _ in self._pairs], [other for _, other in self._pairs], weight)
        for own, other in self._copied:
            own.copy_(other)

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, for a checkpoint."""
        return {
            f"{name}.{key}": t for name, net in self.networks.items() for key, t in net.state_dict().items()
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for name, network in self.networks.items():
            prefix = f"{name}."
            network.load_state_dict(
                {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}
            )

    def averaged(self, system: System) -> System:
        """A system whose children are the averages; all else is that of `system`, which stays as it is."""
        averaged = copy.copy(system)
        averaged.__dict__["_modules"] = {**system._modules, **self.networks}
        return averaged


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
