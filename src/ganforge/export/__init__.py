"""Trained runs in other forms."""

from ganforge.export.hub import write_hub as write_hub
from ganforge.export.onnx import write_onnx as write_onnx
from ganforge.export.package import write_shipped as write_shipped
from ganforge.export.torch_program import write_torch as write_torch
