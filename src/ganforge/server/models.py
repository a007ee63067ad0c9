"""A run that is served: its name, what it can do, and the thread that works for it."""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.evaluation.features.select import smooth_features
from ganforge.generation.explore.keys import Keys
from ganforge.runs.sampling import seeded
from ganforge.runs.trained import Trained, load
from ganforge.server.batching import Worker
from ganforge.system import LatentSystem, Translates, generates_images
from ganforge.text.encoders import FOLDER, open_encoder

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Model:
    """A run, loaded and tried once; `can` are the endpoints that it has.

    `most_images` decoded at a time; `watch` as of `Worker`. Raises UserError where the run makes nothing that
    can be served.
    """

    def __init__(
        self,
        name: str,
        trained: Trained,
        most_images: int,
        watch: Callable[[str, int, int], None] = lambda name, images, calls: None,
    ) -> None:
        self.name, self.trained = name, trained
        self.can = _abilities(trained)
        if not self.can:
            raise UserError(f"{name}: a run of {trained.run.config.system} makes nothing that can be served")
        self._encoder = open_encoder(str(trained.run.path / FOLDER)) if "text" in self.can else None
        self.decodes = self._decodes_by_latents_alone()
        self.worker = Worker(
            lambda keys: self.decode(keys),
            most_images if self.decodes else 1,
            lambda images, calls: watch(name, images, calls),
            f"model {name}",
        )

    def close(self) -> None:
        """End the thread that works for it, once what waits is done."""
        self.worker.close()

    def decode(self, keys: Keys) -> Tensor:
        """Images of latents and conditions, a plain tensor."""
        return self.trained.decode(keys.latents, keys.given()).as_subclass(Tensor)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """The embeddings of prompts; raises UserError where the system takes none, or one is empty."""
        if self._encoder is None:
            raise UserError(f"{self.trained.run.config.system} takes no text: leave it out")
        if not all(text.strip() for text in texts):
            raise UserError('a prompt is empty: expected words, such as "a red apple"')
        found, size = self._encoder.encode(texts), self.trained.run.config.spec.embedding_size
        if found.shape[1] != size:
            raise UserError(
                f"the text encoder of {self.name} makes {found.shape[1]} numbers of a text, the run was "
                f"trained on {size}: put its own back"
            )
        return found

    @cached_property
    def features(self) -> Callable[[Tensor], Tensor] | None:
        """Features in which images are compared besides their pixels, if there are some."""
        config = self.trained.run.config
        return smooth_features(config.data.data, config.spec.channels)

    def _decodes_by_latents_alone(self) -> bool:
        """Whether latents and conditions determine an image, so that others may be decoded with it; a try."""
        system = self.trained.system
        if not isinstance(system, LatentSystem) or type(system).sample is not LatentSystem.sample:
            return False
        labels = torch.zeros(1, dtype=torch.long) if "labels" in system.conditions else None
        embeddings = None if self._encoder is None else self.embed(["a"])
        given = Keys(self.trained.draw_latents(1), embeddings, labels)
        generator = seeded(0, system.device)
        before, batch = generator.get_state(), given.given()
        with torch.no_grad():
            latents = given.latents.to(system.device)
            system.decode(latents, None if batch is None else batch.to(system.device), generator=generator)
        return torch.equal(before, generator.get_state())

    def describe(self) -> dict[str, Any]:
        """What a client needs to know of it."""
        config, system = self.trained.run.config, self.trained.system
        codes = getattr(system.config, "categorical_codes", None)
        return {
            "name": self.name,
            "system": config.system,
            "data": Path(config.data.data).name,
            "step": self.trained.step,
            "channels": config.spec.channels,
            "height": config.spec.height,
            "width": config.spec.width,
            "values": config.spec.values,
            "classes": list(config.spec.class_names) if "labels" in system.conditions else [],
            "codes": codes is not None,
            "can": list(self.can),
        }


def _abilities(trained: Trained) -> tuple[str, ...]:
    system, pixels = trained.system, trained.run.config.spec.values == "pixels"
    latent = isinstance(system, LatentSystem) and pixels
    able = {
        "generate": generates_images(system) and not {"sources", "embeddings"} & system.needs,
        "text": "embeddings" in system.needs,
        "interpolate": latent,
        "arithmetic": latent,
        "project": latent,
        "apply": isinstance(system, Translates),
        "complete": hasattr(system, "complete"),
    }
    return tuple(name for name, can in able.items() if can)


def load_models(
    runs: Sequence[Path],
    device: str = "auto",
    most_images: int = 64,
    watch: Callable[[str, int, int], None] = lambda name, images, calls: None,
) -> dict[str, Model]:
    """The runs by the names of their folders; raises UserError for two of one name, and as `load`."""
    models = dict[str, Model]()
    for path in runs:
        trained = load(path, device)
        name = trained.run.path.resolve().name
        if not NAME.fullmatch(name):
            raise UserError(
                f"{printable(str(path))}: {printable(name)!r} cannot be in an address: name the folder by "
                "letters, digits, dots and dashes"
            )
        if name in models:
            raise UserError(f"two runs are called {name}: rename one of their folders")
        models[name] = Model(name, trained, most_images, watch)
    return models
