"""Layers of one's own in the plain networks of every system that has them."""

import pytest
from torch import nn

from ganforge.data.batch import DataSpec
from ganforge.systems.discovery import find

POINTS = DataSpec(channels=2, height=1, width=1, num_images=100_000, values="points")


def units(network: nn.Module) -> list[int]:
    return [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("name", ["lsgan", "wgan", "wgan_gp", "sngan", "r3gan"])
def test_hidden_units_are_as_given_or_of_the_width(name: str) -> None:
    kind = find(name)
    suggested = {field: value for field, (value, _) in kind.suggest(POINTS).items()}
    critic = "critic" if "critic_hidden" in kind.Config.model_fields else "discriminator"
    given = {"generator_hidden": (7, 5), f"{critic}_hidden": ()}
    own = kind(kind.Config.model_validate(suggested | given), POINTS)
    assert units(own.get_submodule("generator")) == [7, 5, 2]
    assert units(own.get_submodule(critic)) == [1]
    usual = kind(kind.Config.model_validate(suggested | {"width": 9}), POINTS)
    assert set(units(usual.get_submodule("generator"))[:-1]) == {9}
