"""The plain loops to compare with: what a careful script does around the same networks."""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data import Dataset as TorchDataset

from ganforge.data.batch import to_uint8
from ganforge.data.dataset import Dataset
from ganforge.data.sources.catalogue import available as built_in
from ganforge.runs.build import build_system
from ganforge.runs.device import choose_device, synchronise
from ganforge.runs.folder import RunConfig
from ganforge.system import CompletesRows, LatentSystem, Prepares, System, generates_images
from ganforge.training.bench.contestants import some
from ganforge.training.plan import Plan
from ganforge.training.state import build_loader

ENDLESS = 10**9
TIMED_PASSES = 3
SAVINGS = {"penalty_share": 1.0, "update": "alternating"}
"""Options that save work, as a script has them."""
TUTORIAL = {
    "pack": 1, "augment": "none", "loss": None, "generator_steps": 1, "instance_noise": 0.0,
    "label_smoothing": 0.0, "label_flips": 0.0,
}  # fmt: skip
"""Options of dcgan with which its step is that of the tutorial."""


class Plain:
    """A plain loop around the networks of a system: float32, eager, contiguous, nothing fused.

    A DataLoader decodes one image after the other with Pillow, each optimizer updates one tensor after the
    other, gradients of all that a loss reaches are computed, and every loss is read at every step, as
    scripts print them. There are no averaged weights. Losses and their order are those of the system's own
    step; for dcgan they are those of the PyTorch tutorial, where no option of `TUTORIAL` asks for others, see
    `tutorial_step`. Conditions (labels, captions, sources) cost it nothing: those of one batch are used again
    and again.
    """

    def __init__(self, plan: Plan) -> None:
        config = without_savings(plan.config)
        self._device = choose_device(config.train.device)
        self._is_tutorial = config.system == "dcgan" and all(
            config.config[name] == value for name, value in TUTORIAL.items()
        )
        self._system = build_system(config, config.system)
        if isinstance(self._system, Prepares):
            self._system.prepare(build_loader(config, plan.dataset, 256).batch_at(0).images)
        self._system.to(self._device).train()
        self._optimizers = {
            name: unfused(optimizer) for name, optimizer in self._system.build_optimizers().items()
        }
        self.images_per_step = self._system.images_per_step()
        self._given = build_loader(config, plan.dataset, self.images_per_step).batch_at(0).to(self._device)
        self._images = plain_batches(config, plan.dataset, self.images_per_step)
        self._seen = 0

    def read(self) -> float:
        """One image after the other, then stacked."""
        begun = time.perf_counter()
        next(self._images).to(self._device)
        synchronise(self._device)
        return time.perf_counter() - begun

    def step(self) -> float:
        """In float32, every loss read."""
        begun = time.perf_counter()
        batch = replace(self._given, images=next(self._images).to(self._device))
        if self._is_tutorial:
            tutorial_step(self._system, self._optimizers, batch.images)
        else:
            self._system.schedule(self._optimizers, self._seen)
            for value in self._system.train_step(batch, self._update).values():
                value.item()
        self._seen += self.images_per_step
        synchronise(self._device)
        return time.perf_counter() - begun

    def _update(self, name: str, loss: Tensor, watch: Tensor | None = None) -> Tensor | None:
        self._optimizers[name].zero_grad()
        if watch is not None:
            watch.retain_grad()
        loss.backward()
        self._optimizers[name].step()
        return None if watch is None else watch.grad

    def sample(self) -> tuple[float, int] | None:
        """In float32; pixel by pixel by a whole pass for each, of which only some are run."""
        if not generates_images(self._system):
            return None
        self._system.eval()
        given = some(self._given, self._system)
        count = len(given.images)
        with torch.no_grad():
            if isinstance(self._system, CompletesRows):
                network: Any = self._system.get_submodule("network")
                labels = () if given.labels is None else (given.labels,)
                seconds = min(self._timed(network, given.images, *labels) for _ in range(TIMED_PASSES))
                seconds *= given.images[0].numel()
            else:
                seconds = self._timed(self._system.sample, count, given)
        self._system.train()
        return seconds, count

    def _timed(self, call: Any, *arguments: Any) -> float:
        begun = time.perf_counter()
        call(*arguments)
        synchronise(self._device)
        return time.perf_counter() - begun


def without_savings(config: RunConfig) -> RunConfig:
    """The same training with the work that its options save."""
    fields = {name: value for name, value in SAVINGS.items() if name in config.config}
    return config.model_copy(update={"config": config.config | fields})


def tutorial_step(system: System, optimizers: dict[str, torch.optim.Optimizer], real: Tensor) -> None:
    """One step of the DCGAN tutorial of PyTorch: three backward passes, three numbers read, 12 passes."""
    assert isinstance(system, LatentSystem)
    discriminator, generator = system.get_submodule("discriminator"), system.get_submodule("generator")
    criterion = nn.BCEWithLogitsLoss()
    discriminator.zero_grad()
    label = torch.full((len(real),), 1.0, device=real.device)
    logits = discriminator(real)
    loss_real = criterion(logits, label)
    loss_real.backward()
    torch.sigmoid(logits).mean().item()
    fake = generator(system.draw_latents(len(real)))
    label.fill_(0.0)
    logits = discriminator(fake.detach())
    loss_fake = criterion(logits, label)
    loss_fake.backward()
    torch.sigmoid(logits).mean().item()
    optimizers["discriminator"].step()
    generator.zero_grad()
    label.fill_(1.0)
    logits = discriminator(fake)
    loss = criterion(logits, label)
    loss.backward()
    torch.sigmoid(logits).mean().item()
    optimizers["generator"].step()


def unfused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimizer as torch makes it by default: on a CPU one tensor after the other."""
    groups = [
        {name: value for name, value in group.items() if name not in ("fused", "foreach")}
        for group in optimizer.param_groups
    ]
    return type(optimizer)(groups)  # type: ignore[call-arg]


def plain_batches(config: RunConfig, dataset: Dataset, size: int) -> Iterator[Tensor]:
    """Batches without end by a DataLoader of torch, in this process."""
    images = PlainImages(config, dataset)
    order = RandomSampler(images, num_samples=ENDLESS)
    loader = DataLoader(images, batch_size=size, sampler=order)
    return chain.from_iterable(repeat(loader))


class PlainImages(TorchDataset[Tensor]):
    """Training images, decoded by Pillow one at a time; points as they are.

    Those of a folder are opened, cropped and resized each time, those of a zip or the hub are PNGs in memory,
    those of built-in data are arrays in memory that become images first, as torchvision does.
    """

    def __init__(self, config: RunConfig, dataset: Dataset) -> None:
        split = dataset.streamed
        self._spec, self._random = config.spec, config.data.binarise == "dynamic"
        folder = Path(config.data.data).expanduser()
        self._points = split.read(torch.arange(len(split))) if config.spec.values == "points" else None
        self._files: list[Path | bytes | Image.Image] = []
        if self._points is not None:
            return
        for index in range(len(split)):
            path = folder / split.name(index)
            if path.is_file():
                self._files.append(path)
            else:
                image = as_image(split.read(torch.tensor([index]))[0])
                self._files.append(image if config.data.data in built_in() else as_png(image))

    def __len__(self) -> int:
        """The number of images."""
        return len(self._files if self._points is None else self._points)

    def __getitem__(self, index: int) -> Tensor:
        """One image `[channels, height, width]` in [-1, 1], or a point."""
        if self._points is not None:
            return self._points[index]
        file = self._files[index]
        image = file if isinstance(file, Image.Image) else opened(file, self._spec)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        values = pixels.reshape(self._spec.height, self._spec.width, -1).permute(2, 0, 1).contiguous()
        brightness = values.to(torch.float32).div(255)
        if self._random:
            brightness = torch.bernoulli(brightness)
        return (brightness - 0.5) / 0.5


def opened(file: Path | bytes, spec: Any) -> Image.Image:
    """A file as an image of the run: its centre, resized."""
    with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as image:
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[spec.channels]
        whole = image.convert(mode)
    if whole.size == (spec.width, spec.height):
        return whole
    scale = max(spec.width / whole.width, spec.height / whole.height)
    whole = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - spec.width) // 2, (whole.height - spec.height) // 2
    return whole.crop((left, top, left + spec.width, top + spec.height))


def as_image(stored: Tensor) -> Image.Image:
    """The stored pixels uint8 `[channels, height, width]` as an image."""
    pixels = stored if stored.dtype == torch.uint8 else to_uint8(stored)
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def as_png(image: Image.Image) -> bytes:
    """The bytes of its PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
