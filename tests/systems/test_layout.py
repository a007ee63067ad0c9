"""Convolutional networks stay channels-last in the backward pass, where batch norm is slow otherwise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch, DataSpec
from ganforge.runs.device import lay_out
from ganforge.systems.discovery import find

SPEC = DataSpec(channels=3, height=32, width=32, num_images=100)
SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "batch": 4},
    "fastgan": {"width": 8, "batch": 4},
    "infogan": {"width": 8, "batch": 4},
    "lsgan": {"width": 8, "batch": 4},
    "sngan": {"width": 8, "discriminator_width": 8, "batch": 4, "discriminator_steps": 1},
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_batch_norms_lie_as_their_maps(name: str) -> None:
    torch.manual_seed(0)
    kind = find(name)
    system = kind(kind.Config(**SMALL[name]), SPEC).train()
    lay_out(system)
    optimizers = system.build_optimizers()
    seen, turned = set[str](), set[str]()

    def watch(norm: str, maps: Tensor, out: Tensor) -> None:
        # Maps of a dense layer come in rows; they are the smallest.
        if out.requires_grad and maps.is_contiguous(memory_format=torch.channels_last):

            def look(gradient: Tensor) -> None:
                seen.add(norm)
                if not gradient.is_contiguous(memory_format=torch.channels_last):
                    turned.add(norm)

            out.register_hook(look)

    for norm, module in system.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda _, given, out, norm=norm: watch(norm, given[0], out))

    def update(optimizer: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        optimizers[optimizer].zero_grad()
        loss.backward(retain_graph=watch is not None)
        return None if watch is None else torch.autograd.grad(loss, watch)[0]

    system.train_step(Batch(2 * torch.rand(system.images_per_step(), *SPEC.shape) - 1), update)
    assert seen
    assert not turned
