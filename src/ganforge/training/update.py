"""The engine's one verb: backward into one optimizer's parameters, and step it."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class OptimizerUpdate:
    """`update(name, loss, watch=None)` over named optimizers; see `ganforge.system.Update`.

    Where `measuring` is set, the norm of each optimizer's newest gradient is kept in `gradient_norms`, on the
    device. With `skip` an update whose loss or gradient is not finite leaves its parameters as they are: to
    know this, every update reads from the device. `skipped` counts these updates of each optimizer, and
    `skipped_in_a_row` those since its last good one, `all_skipped` of `all_updates` those since the start.
    `mean` overwrites tensors by their means over all processes that share the batch.
    """

    def __init__(
        self,
        optimizers: dict[str, torch.optim.Optimizer],
        device_type: str,
        *,
        skip: bool = False,
        mean: Callable[[Sequence[Tensor]], None] | None = None,
    ) -> None:
        self.measuring = False
        self.gradient_norms: dict[str, Tensor] = {}
        self.skipped: Counter[str] = Counter()
        self.skipped_in_a_row: Counter[str] = Counter()
        self.all_skipped: Counter[str] = Counter()
        self.all_updates: Counter[str] = Counter()
        self._skip = skip
        self._mean = mean
        self._optimizers = optimizers
        self._device_type = device_type
        self._parameters = {
            name: [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
            for name, optimizer in optimizers.items()
        }

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        """Clear the gradients of `name`, backward into its parameters only, step.

        Returns d loss / d watch of the same backward, or None without `watch`.
        """
        parameters = self._parameters[name]
        for parameter in parameters:
            parameter.grad = None
        if watch is not None:
            watch.grad = None
        inputs = parameters if watch is None else [*parameters, watch]
        self.all_updates[name] += 1
        with torch.autocast(self._device_type, enabled=False):
            loss.backward(inputs=inputs)
            loss = loss.detach()
            if self._mean is not None:
                loss = loss.clone()
                self._mean([loss, *(p.grad for p in parameters if p.grad is not None)])
            if self._skip and not bool(torch.isfinite(loss + _gradient_norm(parameters, torch.inf))):
                self.skipped[name] += 1
                self.all_skipped[name] += 1
                self.skipped_in_a_row[name] += 1
            else:
                if self.measuring:
                    self.gradient_norms[name] = _gradient_norm(parameters, 2)
                self._optimizers[name].step()
                self.skipped_in_a_row[name] = 0
        # Autocast keeps bf16 copies of the weights that have just changed.
        torch.clear_autocast_cache()
        return None if watch is None else watch.grad

    def read_gradient_norms(self) -> dict[str, float]:
        """`NAME_gradient_norm` of what was measured since the last call. Sync: reads from the device."""
        norms, self.gradient_norms = self.gradient_norms, {}
        return {f"{name}_gradient_norm": float(norm) for name, norm in norms.items()}

    def read_skipped(self) -> dict[str, float]:
        """`NAME_skipped_updates` of every optimizer since the last call."""
        counts, self.skipped = self.skipped, Counter()
        return {f"{name}_skipped_updates": counts[name] for name in self._optimizers}


def _gradient_norm(parameters: list[Tensor], order: float) -> Tensor:
    """The norm, 0-dim, of all gradients as one vector: 2, or with infinity their largest magnitude."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:  # a loss that none of them has a part in
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, order)), order)
