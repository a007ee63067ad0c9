"""Image sizes that convolutional networks can generate."""

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.nn.stages import (
    Sides,
    nearest_rectangle,
    nearest_square,
    rectangle_stages,
    size_option,
    stages_of,
)


def stages_for(name: str, data: DataSpec, *, plain: bool = True) -> tuple[int, int]:
    """Side of the smallest maps and number of doublings, as `stages_of` gives them, of square images.

    Raises UserError where `data` is anything else, which names --network mlp where a system has it (`plain`).
    """
    _refuse_points(name, data)
    stages = stages_of(data.height) if data.height == data.width else None
    if stages is None:
        raise UserError(
            f"{name} needs square images of 8, 16, 32, 64, ... or 14, 28, 56, ... pixels, this data "
            f"has {data.width}x{data.height}: use --size {nearest_square(min(data.height, data.width))}"
            + (", or --network mlp" if plain else "")
        )
    return stages


def rectangle_for(name: str, data: DataSpec, *, plain: bool = True) -> tuple[Sides, int]:
    """Height and width of the smallest maps and number of doublings, as `rectangle_stages` gives them.

    Raises UserError where there are none, with the nearest size that has some.
    """
    _refuse_points(name, data)
    stages = rectangle_stages(data.height, data.width)
    if stages is None:
        nearest = size_option(*nearest_rectangle(data.height, data.width))
        raise UserError(
            f"{name} halves images down to 3 to 9 pixels, which {data.height}x{data.width} (height x width) "
            f"does not allow: use --size {nearest}" + (", or --network mlp" if plain else "")
        )
    return stages


def _refuse_points(name: str, data: DataSpec) -> None:
    if data.values == "points":
        raise UserError(f"the convolutions of {name} need images, this data is 2-D points: use --network mlp")
