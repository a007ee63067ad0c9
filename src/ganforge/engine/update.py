"""The engine's one verb: backward into one optimizer's parameters, and step it."""

import torch
from torch import Tensor


class OptimizerUpdate:
    """`update(name, loss, watch=None)` over named optimizers; see `ganforge.system.Update`."""

    def __init__(self, optimizers: dict[str, torch.optim.Optimizer], device_type: str) -> None:
        self._optimizers = optimizers
        self._device_type = device_type
        self._parameters = {
            name: [p for group in optimizer.param_groups for p in group["params"]]
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
        with torch.autocast(self._device_type, enabled=False):
            loss.backward(inputs=inputs)
            self._optimizers[name].step()
        # Autocast keeps bf16 copies of the weights that have just changed.
        torch.clear_autocast_cache()
        return None if watch is None else watch.grad
