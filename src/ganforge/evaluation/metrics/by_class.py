"""A distance within each class: blind to how often classes come, awake to collapse inside one."""

from collections.abc import Callable

from torch import Tensor

from ganforge.errors import UserError


def by_class(
    distance: Callable[[Tensor, Tensor], float],
    real: Tensor,
    real_labels: Tensor,
    fake: Tensor,
    fake_labels: Tensor,
) -> list[float]:
    """`distance(real, fake)` of the features of each class in turn: one number for each class.

    `real` `[n, d]` with `real_labels` int64 `[n]`, `fake` `[m, d]` with `fake_labels` `[m]`. Raises
    `UserError` for other shapes, or where the two sides do not have the same classes.
    """
    if real_labels.shape != real.shape[:1] or fake_labels.shape != fake.shape[:1]:
        raise UserError(
            f"labels {list(real_labels.shape)} and {list(fake_labels.shape)} of features {list(real.shape)} "
            f"and {list(fake.shape)}: pass one for each row"
        )
    classes, asked = real_labels.unique().tolist(), fake_labels.unique().tolist()
    if classes != asked:
        raise UserError(f"real classes {classes} and generated classes {asked}: pass the same ones")
    return [distance(real[real_labels == number], fake[fake_labels == number]) for number in classes]
