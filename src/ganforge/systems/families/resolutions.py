"""Image sizes that convolutional networks can generate."""

from ganforge.data.batch import DataSpec
from ganforge.errors import UserError
from ganforge.nn.networks.dcgan import stages_of


def stages_for(name: str, data: DataSpec, *, plain: bool = True) -> tuple[int, int]:
    """Side of the smallest maps and number of doublings, as `stages_of` gives them, of square images.

    Raises UserError where `data` is anything else, which names --network mlp where a system has it (`plain`).
    """
    if data.values == "points":
        raise UserError(f"the convolutions of {name} need images, this data is 2-D points: use --network mlp")
    stages = stages_of(data.height) if data.height == data.width else None
    if stages is None:
        raise UserError(
            f"{name} needs square images of 8, 16, 32, 64, ... or 14, 28, 56, ... pixels, this data "
            f"has {data.width}x{data.height}: use --size 64 (or another of these)"
            + (", or --network mlp" if plain else "")
        )
    return stages
