import pytest
import torch
from torch import Tensor

from ganforge.data.batch import to_float
from ganforge.data.open import open_dataset
from ganforge.data.options import DataOptions


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """The 10,000 test images of MNIST in [-1, 1] and their labels."""
    split = open_dataset(DataOptions(data="mnist")).splits["test"]
    assert split.labels is not None
    return to_float(split.read(torch.arange(len(split)))), split.labels
