"""What makes a session: data, seed, panels and everything that was done by hand; the whole of a link."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, field_validator

from ganforge.studio.playground.losses import LOSSES, STEPS, Shared

MOST_PANELS, MOST_STEPS, MOST_EVENTS = 6, 100_000, 500


class PanelSettings(BaseModel):
    """A loss, and those fields of its system that are not the playground's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: str
    fields: dict[str, Any] = Field(default_factory=dict, max_length=20)

    @field_validator("loss")
    @classmethod
    def _known(cls, loss: str) -> str:
        if loss not in LOSSES:
            raise ValueError(f"expected one of {', '.join(LOSSES)}")
        return loss


class Event(BaseModel):
    """Something done by hand before the step after `at`: `count` steps of `only` one network, or `fields`."""

    model_config = ConfigDict(extra="forbid")

    at: NonNegativeInt
    only: Literal["generator", "discriminator"] | None = None
    count: int = Field(1, ge=1, le=MOST_STEPS)
    panel: int = Field(0, ge=0, lt=MOST_PANELS)
    fields: dict[str, Any] | None = Field(None, max_length=20)


class Settings(BaseModel):
    """`data` names a preset; `drawn` are dabs, see `points.dabs_of`. Equal settings give equal steps."""

    model_config = ConfigDict(extra="forbid")

    data: str = Field("ring", max_length=40)
    drawn: str | None = Field(None, max_length=4_000)
    seed: int = Field(0, ge=0, lt=2**32)
    steps: int = Field(STEPS, ge=1, le=MOST_STEPS)
    shared: Shared = Shared()
    panels: list[PanelSettings] = Field(
        [PanelSettings(loss="non_saturating")], min_length=1, max_length=MOST_PANELS
    )
    events: list[Event] = Field(default_factory=list, max_length=MOST_EVENTS)
