"""The models of Create: the few that are in memory, and what is found once of each."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from ganforge.errors import UserError
from ganforge.generation.explore.arithmetic import vector_of
from ganforge.generation.explore.directions import Direction, Method, any_keys, find_directions
from ganforge.generation.explore.keys import latent_system
from ganforge.generation.explore.traversal import strongest_numbers
from ganforge.generation.explore.vectors import vector_names
from ganforge.generation.nearest_captions import KnownCaptions
from ganforge.generation.sources import takes_lines
from ganforge.reporting.units import folder_size
from ganforge.runs.data import captions_of
from ganforge.runs.state import best_score
from ganforge.runs.trained import Trained, load
from ganforge.server.batching import Closed
from ganforge.server.guard import Refused
from ganforge.server.models import Model
from ganforge.server.tasks import MOST_PIXELS, MOST_PIXELS_OWN
from ganforge.studio.create_gallery import tools_of
from ganforge.studio.runs import stamp_of
from ganforge.studio.workshop import Workshop
from ganforge.system import HasCodes, LatentSystem, System

T = TypeVar("T")

MOST_MODELS, MOST_IMAGES = 3, 64
MOST_DIRECTIONS, MOST_EMBEDDINGS = 12, 256
MOST_EXAMPLES, EXAMPLES_SEED = 10, 4


class Loaded:
    """A model in memory, with what is found once of it; `place` is what commands call the run."""

    def __init__(self, place: str, model: Model, stamp: object) -> None:
        self.place, self.model, self.stamp = place, model, stamp
        self.embed = lru_cache(MOST_EMBEDDINGS)(lambda text: self.model.embed([text]))
        self.vector = lru_cache(MOST_EMBEDDINGS)(lambda name: vector_of(self.trained, name))
        self.directions = lru_cache(2)(self._directions)

    @property
    def trained(self) -> Trained:
        """The run at its newest checkpoint."""
        return self.model.trained

    def work(self, function: Callable[[], T]) -> T:
        """The result of `function`, called in the one thread that works for this model; raises Refused."""
        return self.submit(function).result()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """The same, without waiting for it."""
        try:
            return self.model.worker.submit(function, decodes=False).future
        except Closed as error:
            raise Refused(503, f"{self.model.name} made room for other models: try again") from error

    def _directions(self, method: Method) -> list[Direction]:
        count = min(MOST_DIRECTIONS, self.reach)
        return find_directions(self.trained, any_keys(self.trained), count, method)

    @property
    def reach(self) -> int:
        """How many numbers of a latent images are continuous in; raises UserError where there are none."""
        return latent_system(self.trained).continuous_size or self.trained.draw_latents(1)[0].numel()

    @cached_property
    def strongest(self) -> list[int]:
        """The numbers of a latent that change images most."""
        return strongest_numbers(self.trained, any_keys(self.trained), self.reach)[:MOST_DIRECTIONS]

    @cached_property
    def captions(self) -> list[str]:
        """What the run was trained on; empty where that cannot be read."""
        return captions_of(self.trained.run)

    @cached_property
    def known(self) -> KnownCaptions:
        """The captions, to find those near a prompt."""
        return KnownCaptions(self.captions)

    def examples(self) -> list[str]:
        """Prompts to begin with: captions of two or three words, none rare and none everywhere."""
        every = sorted(set(self.captions))
        counts = Counter(word for text in every for word in set(text.split()))
        plain = [
            text
            for text in every
            if 1 < len(text.split()) < 4 and all(3 < counts[word] < len(every) / 50 for word in text.split())
        ] or every
        order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(EXAMPLES_SEED))
        return [plain[row] for row in order[:MOST_EXAMPLES].tolist()]

    def describe(self) -> dict[str, Any]:
        """What its page needs to show the right controls."""
        trained, model = self.trained, self.model
        config, system = trained.run.config, trained.system
        about = model.describe() | {
            "place": self.place,
            "purpose": type(system).purpose,
            "score": best_score(trained.run),
            "size": folder_size(trained.run.path),
            "tools": tools_of(config.spec, type(system)),
            "uses_lines": config.spec.source_shape is not None and takes_lines(trained),
            "source_shape": config.spec.source_shape,
            "enlarges": config.spec.enlarges,
            "video": find_spec("av") is not None,
            "most_pixels": MOST_PIXELS_OWN if config.spec.enlarges else MOST_PIXELS,
            "text": "text" in model.can,
            "examples": self.examples() if "text" in model.can else [],
        }
        if not isinstance(system, LatentSystem):
            return about
        prior = system.prior[0]
        return about | {
            "latent_size": trained.draw_latents(1)[0].numel(),
            "reach": self.reach,
            "gaussian": system.latents_are_gaussian,
            "uniform": None if prior.kind != "uniform" else [prior.low, prior.high],
            "truncates": not isinstance(system, HasCodes) and prior.kind == "gaussian",
            "code_ranges": _codes_of(system),
            "vectors": vector_names(trained.run),
        }


def _codes_of(system: System) -> list[dict[str, Any]]:
    """Prior and range of each code that `set_code` sets."""
    if not isinstance(system, HasCodes):
        return []
    config: Any = system.config
    categories = [{"prior": "categorical", "count": count} for count in config.categorical_codes]
    ranges = [{"prior": "uniform", "low": -2, "high": 2}] * config.uniform_codes
    return [*categories, *ranges, *[{"prior": "gaussian", "low": -4, "high": 4}] * config.gaussian_codes]


class Models:
    """Models by name; at most `MOST_MODELS` are in memory: the one unused longest is put away."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, newest: bool = False) -> Loaded:
        """The model `name`, loaded if need be; raises Refused where it is gone, UserError where none can be.

        `newest`: read it again where it was trained since.
        """
        place, folder = self._workshop.find(name)
        stamp = stamp_of(folder, "config.json", "checkpoints")
        with self._lock:
            kept = self._loaded.get(place)
            if kept is None or (newest and kept.stamp != stamp):
                self._put_away(place)
                kept = self._loaded[place] = self._load(place, stamp)
                while len(self._loaded) > MOST_MODELS:
                    self._put_away(next(iter(self._loaded)))
            self._loaded.move_to_end(place)
            return kept

    def _load(self, place: str, stamp: object) -> Loaded:
        trained = load(Path(place), self._workshop.device)
        if trained.run.config.spec.values != "pixels":
            raise UserError("this run is of 2-D points: the playground and the page of the run show those")
        return Loaded(place, Model(trained.run.path.name, trained, MOST_IMAGES), stamp)

    def _put_away(self, place: str) -> None:
        if (loaded := self._loaded.pop(place, None)) is not None:
            loaded.model.close()
