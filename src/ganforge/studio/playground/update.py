"""An update that can leave one network alone, and that keeps the pushes on generated points."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.training.update import OptimizerUpdate

Only = Literal["generator", "discriminator"]


class ApartUpdate(OptimizerUpdate):
    """The engine's update, of both networks or of `only` one.

    Where `watching` is set, `pushes` are the generated points `[batch, 2]` of the newest generator loss, and
    minus its gradient by each of them, times the batch: where each point is pushed. `after` is called with
    the name of each optimizer that has made a step.
    """

    def __init__(self, optimizers: dict[str, torch.optim.Optimizer], generator: nn.Module | None) -> None:
        super().__init__(optimizers, "cpu")
        self.only: Only | None = None
        self.watching = True
        self.pushes: tuple[Tensor, Tensor] | None = None
        self.after: Callable[[str], None] | None = None
        self._fakes: Tensor | None = None
        if generator is not None:
            generator.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        if output.requires_grad:
            self._fakes = output

    def __call__(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        """As the engine's, but an optimizer of the other network makes no step."""
        if name == "generator" and self.watching and self._fakes is not None:
            (gradient,) = torch.autograd.grad(loss, self._fakes, retain_graph=True)
            points = self._fakes.detach().flatten(1)
            self.pushes = points.clone(), -len(points) * gradient.flatten(1)
        if name == "generator":
            self._fakes = None
        if not self._steps(name):
            return None if watch is None else torch.autograd.grad(loss, watch)[0]
        gradient_of_watch = super().__call__(name, loss, watch)
        if self.after is not None:
            self.after(name)
        return gradient_of_watch

    def _steps(self, name: str) -> bool:
        if self.only is None:
            return True
        role = "generator" if name == "generator" else "discriminator" if name != "vae" else None
        return role == self.only
