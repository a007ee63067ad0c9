"""Content losses: differences of pixels, or of VGG-19 features."""

import hashlib
import os
from pathlib import Path
from typing import Literal, TypeVar

import safetensors.torch
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import mse_loss

from ganforge.errors import UserError
from ganforge.files.download import cache_folder, fetch
from ganforge.files.pth import read_tensors
from ganforge.nn.networks.vgg import VGGFeatures, VGGLayer
from ganforge.system import SystemConfig

VGG_URL, VGG_FILE = "https://download.pytorch.org/models/", "vgg19-dcbb9e9d.pth"
VGG_SHA256 = "dcbb9e9d"  # its first digits: torchvision names its files so
VGG_RESCALING = 1 / 12.75  # of the features: Ledig et al. 2016, section 3.2; of their squares about 0.006


class PerceptualConfig(SystemConfig):
    """Options of a content loss."""

    content: Literal["mse", "vgg22", "vgg54"] = Field(
        "mse",
        description="How far from the original: mse of the pixels, or of VGG-19's features 2,2 or 5,4.",
    )
    vgg_weights: str | None = Field(
        None,
        description="A .pth or .safetensors file with the weights of torchvision's vgg19, under its names; "
        "left out: fetched once.",
    )
    vgg_sha256: str | None = Field(
        None, description="SHA-256, in hex, of that file; left out: what it is when the run begins."
    )

    def model_post_init(self, _: object) -> None:
        """Reject weights without a use."""
        if self.content == "mse" and self.vgg_weights:
            raise ValueError(
                "--vgg-weights is for --content vgg22 or vgg54: add one of them, or leave it out"
            )


Config = TypeVar("Config", bound=PerceptualConfig)


def with_weights(config: Config) -> Config:
    """`config` with the file of VGG-19's weights and its SHA-256, so that another file is another run.

    Fetches the published file where none is named. Raises UserError where the file cannot be read or fetched.
    """
    if config.content == "mse" or config.vgg_sha256:
        return config
    file = Path(config.vgg_weights).expanduser() if config.vgg_weights else fetch_vgg()
    if not file.is_file():
        raise UserError(
            f"--content {config.content} needs --vgg-weights FILE.safetensors, a file that is there, got "
            f"{str(file)!r}; --content mse needs none"
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return config.model_copy(update={"vgg_weights": os.path.abspath(file), "vgg_sha256": digest})


class Content:
    """How far enlarged images are from the originals: one mean of squares over all values.

    Of pixels, or of VGG features divided by 12.75. The weights are read when they are first needed, for a
    trained run is used without them. Raises UserError where the file is not what the config says.
    """

    def __init__(self, config: PerceptualConfig) -> None:
        self._config = config
        self._features: VGGFeatures | None = None

    def __call__(self, fakes: Tensor, targets: Tensor) -> Tensor:
        """The loss, 0-dim, of images in [-1, 1]."""
        if self._config.content == "mse":
            return mse_loss(fakes.float(), targets.float())
        if self._features is None:
            self._features = load_features(self._config).to(targets.device)
        with torch.no_grad():
            wanted = self._features(targets)
        return mse_loss(self._features(fakes).float(), wanted.float()) * VGG_RESCALING**2


def fetch_vgg() -> Path:
    """The published weights of torchvision's vgg19, fetched once; raises UserError where they cannot be."""
    folder = cache_folder() / "vgg"
    fetch("the weights of VGG-19", VGG_URL, VGG_FILE, None, folder, "--vgg-weights FILE")
    file = folder / VGG_FILE
    if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(VGG_SHA256):
        file.unlink()
        raise UserError(
            f"{VGG_URL}{VGG_FILE} came damaged: expected a SHA-256 from {VGG_SHA256} on; try again"
        )
    return file


def load_features(config: PerceptualConfig) -> VGGFeatures:
    """The layer of VGG-19 that `config` asks for, with the weights of its file."""
    layer: VGGLayer = "54" if config.content == "vgg54" else "22"
    shown = f"--vgg-weights {config.vgg_weights}"
    try:
        path = Path(config.vgg_weights or "").expanduser()
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{shown}: {error.strerror}: expected a .pth or .safetensors file of vgg19"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != (config.vgg_sha256 or "").lower():
        raise UserError(f"{shown} has the SHA-256 {digest}, expected {config.vgg_sha256}: give that file")
    features = VGGFeatures(layer)
    try:
        tensors = read_tensors(path) if path.suffix == ".pth" else safetensors.torch.load(data)
        features.load_state_dict({name: tensors[name] for name in features.state_dict()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise UserError(f"{shown} is no file of torchvision's vgg19: {why}") from error
    return features.eval()
