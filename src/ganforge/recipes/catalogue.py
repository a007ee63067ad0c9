"""Named runs with their evidence: the command, and what it was measured to cost and to reach."""

import json
from importlib import resources

from pydantic import BaseModel, ConfigDict


class Recipe(BaseModel):
    """A run that was measured; minutes, speed, memory and score are of `machine` on `date`.

    `measured` has single scores of it by name, `published` what the paper has of them, in its words. The
    command continues a run of the recipe `after`, which it calls as `ganforge train` does by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    what: str
    command: str
    minutes: float
    images_per_second: float
    memory_mb: float
    score: str
    machine: str
    date: str
    published: dict[str, str] = {}
    measured: dict[str, float] = {}
    after: str = ""


def recipes() -> list[Recipe]:
    """All recipes of `recipes.json`, by name."""
    text = resources.files("ganforge.recipes").joinpath("recipes.json").read_text(encoding="utf-8")
    return sorted(
        (Recipe.model_validate(entry) for entry in json.loads(text)), key=lambda recipe: recipe.name
    )
