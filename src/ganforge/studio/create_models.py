"""The models of Create: the few that are in memory, and what is found once of each."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ganforge.errors import UserError
from ganforge.generation.explore.arithmetic import vector_of
from ganforge.generation.explore.directions import Direction, Method, any_keys, find_directions
from ganforge.generation.explore.traversal import strongest_numbers
from ganforge.generation.explore.vectors import vector_names
from ganforge.generation.nearest_captions import KnownCaptions
from ganforge.generation.sources import takes_lines
from ganforge.reporting.units import folder_size
from ganforge.runs.conditions import training_captions
from ganforge.runs.data import captions_of
from ganforge.runs.state import best_score
from ganforge.runs.trained import Trained, load
from ganforge.server.models import Model
from ganforge.studio.create_gallery import tools_of
from ganforge.studio.runs import stamp_of
from ganforge.studio.workshop import Workshop
from ganforge.system import HasCodes, LatentSystem, System

T = TypeVar("T")

MOST_MODELS, MOST_IMAGES = 3, 64
MOST_DIRECTIONS, MOST_EMBEDDINGS = 12, 256
EXAMPLES = ("a red apple", "a smiling face", "a cat", "a blue heart", "a tree")
"""Prompts for a run whose captions cannot be read."""


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
        """The result of `function`, called in the one thread that works for this model."""
        return self.model.worker.submit(function, decodes=False).future.result()

    def _directions(self, method: Method) -> list[Direction]:
        system = self.trained.system
        assert isinstance(system, LatentSystem)
        reach = system.continuous_size or self.trained.draw_latents(1)[0].numel()
        return find_directions(self.trained, any_keys(self.trained), min(MOST_DIRECTIONS, reach), method)

    @cached_property
    def strongest(self) -> list[int]:
        """The numbers of a latent that change images most."""
        base = any_keys(self.trained)
        system = self.trained.system
        assert isinstance(system, LatentSystem)
        size = system.continuous_size or base.latents[0].numel()
        return strongest_numbers(self.trained, base, size)[:MOST_DIRECTIONS]

    @cached_property
    def captions(self) -> KnownCaptions | None:
        """What the run was trained on, where it can be read."""
        found = captions_of(self.trained.run)
        return KnownCaptions(found) if found else None

    @cached_property
    def examples(self) -> list[str]:
        """Prompts to begin with: captions of its data."""
        try:
            return training_captions(self.trained.run, 1)
        except UserError:
            return list(EXAMPLES)

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
            "text": "text" in model.can,
            "examples": self.examples if "text" in model.can else [],
        }
        if not isinstance(system, LatentSystem):
            return about
        prior = system.prior[0]
        return about | {
            "latent_size": trained.draw_latents(1)[0].numel(),
            "reach": system.continuous_size or trained.draw_latents(1)[0].numel(),
            "uniform": None if prior.kind != "uniform" else [prior.low, prior.high],
            "truncates": not isinstance(system, HasCodes) and prior.kind == "gaussian",
            "code_ranges": _codes_of(system),
            "vectors": vector_names(trained.run),
        }


def _codes_of(system: System) -> list[dict[str, Any]]:
    """Kind and range of each code that `set_code` sets."""
    if not isinstance(system, HasCodes):
        return []
    config: Any = system.config
    categories = [{"kind": "categorical", "count": count} for count in config.categorical_codes]
    ranges = [{"kind": "uniform", "low": -2, "high": 2}] * config.uniform_codes
    return [*categories, *ranges, *[{"kind": "gaussian", "low": -4, "high": 4}] * config.gaussian_codes]


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
