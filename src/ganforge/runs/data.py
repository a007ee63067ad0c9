"""Other data, brought to the shape that a run's networks know."""

from ganforge.data.dataset import Dataset
from ganforge.data.open import open_dataset
from ganforge.errors import UserError
from ganforge.runs.folder import RunConfig


def open_like(config: RunConfig, data: str | None) -> Dataset:
    """The data of a run, or those called `data` in the same size, channels and binarisation.

    Raises UserError where their shape is not the run's.
    """
    options, spec = config.data, config.spec
    if data is not None:
        if spec.values == "points":
            fields: dict[str, object] = {"data": data}
        else:
            channels = "grey" if spec.channels == 1 else "color"
            size = spec.height if spec.height == spec.width else None
            fields = {"data": data, "size": size, "channels": channels}
        options = options.model_copy(update=fields)
    dataset = open_dataset(options)
    if dataset.spec.shape != spec.shape or dataset.spec.values != spec.values:
        raise UserError(
            f"{options.data} has the shape {_words(dataset.spec.shape)}, the run {_words(spec.shape)}: name "
            "other data with --data"
        )
    return dataset


def _words(shape: tuple[int, int, int]) -> str:
    return "x".join(map(str, shape))
