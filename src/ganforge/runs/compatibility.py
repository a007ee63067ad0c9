"""Runs of earlier versions, read in the names of this one."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:  # runs are listed without importing torch
    from torch import Tensor

DATA_OPTIONS = {"captions_per_picture": "captions_per_image"}  # 0.1
NETWORKS = {"view": "augment", "pictures": "image"}  # 0.1: children of adversarial systems, of text_encoder


def without_unknown(model: type[BaseModel], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The `values` that `model` has fields for; a warning names the others."""
    unknown = sorted(values.keys() - model.model_fields.keys())
    if unknown:
        warnings.warn(f"{where}: {', '.join(unknown)[:200]} unknown to this version, ignored", stacklevel=2)
    return {name: value for name, value in values.items() if name not in unknown}


def current_data_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The data options of a run by the names of this version."""
    return {DATA_OPTIONS.get(name, name): value for name, value in values.items()}


def current_tensors(tensors: Mapping[str, "Tensor"], own: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """The tensors of a checkpoint by the names that a system with the tensors `own` has."""

    def current(name: str) -> str:
        child, dot, rest = name.partition(".")
        renamed = f"{NETWORKS.get(child, child)}{dot}{rest}"
        return renamed if name not in own and renamed in own else name

    return {current(name): tensor for name, tensor in tensors.items()}
