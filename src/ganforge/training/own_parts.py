"""Parts of the user's in a training: checked on one batch before the first step, and known by their code."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.data.batch import Batch
from ganforge.errors import UserError
from ganforge.files.code import is_name, source_hash
from ganforge.runs.folder import Run, RunConfig
from ganforge.system import LatentSystem, System
from ganforge.systems.families.own_parts import PARTS, OwnLoss, OwnPartsConfig, in_line, named_parts


def check_own_parts(system: System, batch: Batch) -> None:
    """Raise UserError where an own network or loss does not do on `batch` what its system needs.

    Shapes, NaN, and losses that do not depend on the logits. Weights, statistics of batch norms and torch's
    random numbers stay as they are.
    """
    config = system.config
    names = named_parts(config)
    if not names or not isinstance(config, OwnPartsConfig) or not isinstance(system, LatentSystem):
        return
    devices = [system.device] if system.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        trial: Any = copy.deepcopy(system).train()
        latents = trial.draw_latents(config.batch)
        fakes = _output("generator", names, trial.generator, latents, (config.batch, *system.data.shape))
        critic: nn.Module = trial.critic if hasattr(trial, "critic") else trial.discriminator
        real = trial.augment(batch.images[: config.batch])
        real_logits = _output("discriminator", names, critic, real, (len(real),))
        fake = trial.augment(fakes.detach())
        fake_logits = _output("discriminator", names, critic, fake, (len(fake),))
        if trial.own_loss is not None:
            _check_loss(trial.own_loss, real_logits, fake_logits)


def _output(
    part: str, names: dict[str, str], network: nn.Module, inputs: Tensor, shape: tuple[int, ...]
) -> Tensor:
    """What `network` makes of `inputs`; where it is the user's, finite and of this shape."""
    if part not in names:
        return network(inputs)
    what = f"--{part} {names[part]}"
    try:
        output = network(inputs)
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"{what} fails for inputs {list(inputs.shape)}: {in_line(error)}") from error
    if not isinstance(output, Tensor) or output.shape != shape:
        got = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        hint = ": flatten its last axis" if part == "discriminator" and got == [shape[0], 1] else ""
        raise UserError(f"{what} gives {got} for inputs {list(inputs.shape)}, expected {list(shape)}{hint}")
    if not output.isfinite().all():
        raise UserError(f"{what} gives NaN or infinity for its first batch: expected finite numbers")
    return output


def _check_loss(loss: OwnLoss, real_logits: Tensor, fake_logits: Tensor) -> None:
    what = f"--loss {loss.name}"
    real, fake = real_logits.detach().requires_grad_(), fake_logits.detach().requires_grad_()
    try:
        values = loss.pair(real, fake)
    except UserError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise UserError(f"{what} fails for logits {list(real.shape)}: {in_line(error)}") from error
    for name, value, logits in zip(("discriminator", "generator"), values, (real, fake), strict=True):
        if value.dim():
            raise UserError(
                f"{what}: the loss of the {name} has the shape {list(value.shape)}, expected one number: "
                "take its mean"
            )
        if not value.isfinite():
            raise UserError(f"{what}: the loss of the {name} is {value.item()} for the first batch")
        (gradient,) = (
            torch.autograd.grad(value, logits, retain_graph=True, allow_unused=True)
            if value.requires_grad
            else (None,)
        )
        if gradient is None:
            kind = "real" if name == "discriminator" else "generated"
            raise UserError(f"{what}: the loss of the {name} does not depend on the logits of {kind} images")
        if not gradient.isfinite().all():
            raise UserError(f"{what}: the gradient of the {name}'s loss is not finite for the first batch")


def recorded_code(config: RunConfig) -> dict[str, dict[str, str]]:
    """What the log keeps of code outside of ganforge: name -> SHA-256 of its file; nothing without any."""
    names = {config.system, *(str(config.config.get(part)) for part in PARTS)}
    own = {name: source_hash(name) for name in sorted(names) if is_name(name)}
    return {"code": own} if own else {}


def changed_code(run: Run) -> list[str]:
    """A line where the files of the user's code are others than when the run began."""
    recorded = [line["code"] for line in run.metrics("start") if isinstance(line.get("code"), dict)]
    now = recorded_code(run.config).get("code", {})
    changed = [name for name, digest in now.items() if recorded and recorded[0].get(name, digest) != digest]
    if not changed:
        return []
    files = ", ".join(changed)
    return [f"the file of {files} has changed since the run began: it does not continue exactly"]
