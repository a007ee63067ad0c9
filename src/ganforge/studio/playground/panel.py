"""One training of the playground: a system of the package, its plan, its data and its random numbers."""

import hashlib
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.data.dataset import Dataset
from ganforge.errors import UserError
from ganforge.runs.build import RANDOM
from ganforge.runs.folder import RunConfig
from ganforge.runs.options import TrainOptions
from ganforge.studio.playground.losses import LARGEST, LIVE, LOSSES, Shared
from ganforge.studio.playground.update import ApartUpdate, Only
from ganforge.system import Discriminates, System
from ganforge.systems.families.adversarial import DiscriminatorInput
from ganforge.training.diagnosis import Diagnosis
from ganforge.training.divergence import Diverged, finite_values
from ganforge.training.plan import OnDisk, make_plan, validated
from ganforge.training.state import build_loader, build_training

LOG_EVERY = 50
NOWHERE = OnDisk(Path("playground"), None, None, None)


class Panel:
    """A training on the CPU, as `ganforge train` would do it with the same options and seed.

    Raises UserError for options that are invalid. Its thread-wide random numbers are its own: every call
    that draws some holds `RANDOM`.
    """

    def __init__(
        self, loss: str, dataset: Dataset, seed: int, shared: Shared, fields: Mapping[str, Any], steps: int
    ) -> None:
        kind = LOSSES[loss]
        for name, value in fields.items():
            if name not in kind.open:
                raise UserError(f"{kind.title} has no {name}: expected some of {', '.join(kind.open)}")
            if name in LARGEST and isinstance(value, int) and value > LARGEST[name]:
                raise UserError(f"{name} {value}: expected at most {LARGEST[name]} in the playground")
        self.loss, self.fields = loss, dict(fields)
        options = TrainOptions(seed=seed, device="cpu", precision="fp32", log_every=LOG_EVERY)
        wanted = {**kind.fields(shared, fields), "steps": steps}
        plan = make_plan(kind.system, dataset, options, wanted, NOWHERE)
        self.plan = plan
        with self._random():
            self.training = build_training(plan.config, dataset)
        self.training.system.train()
        generator = getattr(self.system, "generator", None)
        self.update = ApartUpdate(self.training.optimizers, generator)
        self._loader = build_loader(plan.config, dataset, self.system.images_per_step())
        self._diagnosis = Diagnosis(plan.config.config)
        self.lines = list[dict[str, Any]]()
        self.signals = dict[str, str]()
        self.losses = dict[str, float]()
        self.norms = dict[str, float]()
        self.stopped = ""
        self.seconds = 0.0

    _state: Tensor | None = None

    @contextmanager
    def _random(self) -> Iterator[None]:
        """Within this context torch's random numbers are this panel's."""
        with RANDOM:
            before = torch.get_rng_state()
            if self._state is not None:
                torch.set_rng_state(self._state)
            try:
                yield
            finally:
                self._state = torch.get_rng_state()
                torch.set_rng_state(before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within a step: others may use torch's random numbers."""
        state = torch.get_rng_state()
        RANDOM.release()
        try:
            yield
        finally:
            RANDOM.acquire()
            torch.set_rng_state(state)

    @property
    def system(self) -> System:
        """The system that is trained."""
        return self.training.system

    @property
    def step(self) -> int:
        """Steps done."""
        return self.training.step

    @property
    def config(self) -> RunConfig:
        """What a run of this panel records: with the rates as they are now."""
        fields = self.system.config.model_dump(mode="json")
        return self.plan.config.model_copy(update={"config": fields})

    @property
    def discriminator(self) -> nn.Module | None:
        """The discriminator or critic."""
        network = getattr(self.system, "discriminator", None) or getattr(self.system, "critic", None)
        return network if isinstance(network, nn.Module) else None

    @property
    def gives_probabilities(self) -> bool:
        """Whether the logits are log odds of being real."""
        return isinstance(self.system, Discriminates) and self.system.logits_are_log_odds

    def advance(self, only: Only | None = None, *, watching: bool = True) -> None:
        """One step of both networks, or one that changes `only` one; nothing where it has stopped."""
        if self.stopped:
            return
        training, update = self.training, self.update
        update.only, update.watching = only, watching
        due = (training.step + 1) % LOG_EVERY == 0
        update.measuring = due or watching
        begun = time.monotonic()
        try:
            with self._random():
                training.advance(self._loader.batch_at(training.images), update)
            self.seconds += time.monotonic() - begun
            if due:
                self._log()
            elif watching:
                self.norms |= update.read_gradient_norms()
        except Diverged as error:
            self.stopped = f"{error.what}: begin again with a smaller learning rate"

    def _log(self) -> None:
        """A line of the log as a run has it, and what it says of the training's health."""
        values = finite_values(self.training, self.update)
        self.training.meter.reset()
        self.losses = {name: value for name, value in values.items() if not name.endswith("_norm")}
        self.norms |= {name: value for name, value in values.items() if name.endswith("_norm")}
        rate = self.training.images / max(self.seconds, 1e-9)
        self.lines.append(
            {
                "kind": "train",
                "step": self.step,
                "images": self.training.images,
                "seconds": round(self.seconds, 3),
                "images_per_second": round(rate, 2),
                "seconds_per_step": round(self.seconds / self.step, 6),
                **values,
            }
        )
        for sign in self._diagnosis.look(self.lines[-1]):
            self.lines.append(sign)
            self.signals[sign["signal"]] = sign["text"]

    def current_losses(self) -> dict[str, float]:
        """The means since the last line of the log, or those of that line."""
        means = self.training.meter.read() if self.training.meter.state()["count"] else {}
        return means or self.losses

    def set_fields(self, fields: Mapping[str, Any]) -> None:
        """Change fields of `LIVE` from the next step on; raises UserError for others, and for bad values."""
        for name in fields:
            if name not in LIVE or name not in LOSSES[self.loss].open:
                raise UserError(f"{name} cannot change during a training: restart with it")
        system = self.system
        config = validated(type(system).Config, {**system.config.model_dump(), **fields})
        system.config = config
        augment = getattr(system, "augment", None)
        if isinstance(augment, DiscriminatorInput):
            augment.config = config  # type: ignore[assignment]
        with self._random():
            fresh = system.build_optimizers()
        for name, optimizer in self.training.optimizers.items():
            for group, other in zip(optimizer.param_groups, fresh[name].param_groups, strict=True):
                group.pop("first_lr", None)
                group.update({key: value for key, value in other.items() if key != "params"})
        self.fields |= fields

    @property
    def command(self) -> str:
        """The training as a command: the options that differ from what the data suggest."""
        config, fields = self.plan.config, self.system.config.model_dump()
        kind = type(self.system)
        defaults = {name: field.default for name, field in kind.Config.model_fields.items()}
        defaults |= {name: value for name, (value, _) in kind.suggest(config.spec, "cpu").items()}
        words = ["ganforge", "train", config.system, "--data", config.data.data]
        words += ["--seed", str(config.train.seed), "--precision", "fp32", "--device", "cpu"]
        for name, value in fields.items():
            option = name.replace("_", "-")
            if value == defaults[name]:
                continue
            if isinstance(value, bool):
                words.append(f"--{option}" if value else f"--no-{option}")
            else:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{option}", *map(str, values)]
        return shlex.join(words)

    @contextmanager
    def shown(self) -> Iterator[System]:
        """The system as it would be sampled, without gradients."""
        with RANDOM, self.training.sampled() as system, torch.no_grad():
            yield system

    def random_state(self) -> Any:
        """Within this context a checkpoint records this panel's random numbers."""
        return self._random()

    def fingerprint(self) -> str:
        """A SHA-256, in hex, of all weights and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.system.state_dict().items()):
            digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()
