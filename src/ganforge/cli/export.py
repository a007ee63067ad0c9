"""`ganforge export`: runs for use elsewhere."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ganforge.cli.arguments import CHECKPOINT, SYSTEM
from ganforge.export.card import Licences
from ganforge.export.hub import check_push, push, write_hub
from ganforge.export.onnx import write_onnx
from ganforge.export.package import write_shipped
from ganforge.export.torch_program import write_torch
from ganforge.reporting.trackers import check_tracker
from ganforge.reporting.units import folder_size
from ganforge.runs.folder import Run
from ganforge.runs.trained import Trained, load
from ganforge.training.live_report import feed_of


@dataclass(frozen=True)
class _Export:
    """What all exports have in common."""

    run: tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="A run folder.")]]
    out: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="The new folder.")]]
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def load(self) -> Trained:
        """The run, on the CPU."""
        return load(self.run, device="cpu", checkpoint=self.checkpoint, system=self.system)

    def say(self, more: str = "") -> None:
        """Print what was written."""
        print(f"{self.out}: {folder_size(self.out)}{more}")


@dataclass(frozen=True)
class Log:
    """Give the record of a run, its sample grids and its scores to a tracker, after training.

    With wandb and trackio each time as a new run there.
    """

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    to: Annotated[Literal["tensorboard", "wandb", "trackio"], tyro.conf.arg(help="The tracker.")]
    out: Annotated[
        Path | None, tyro.conf.arg(help="The folder of its files; default: one in the run folder.")
    ] = None

    def __call__(self, command: str) -> int:
        """Give all of it; returns the exit code."""
        check_tracker(self.to)
        feed = feed_of(Run.open(self.run), self.to, out=self.out, suffix=f"-{int(time.time()):x}")
        feed.follow()
        feed.give_evaluations()
        feed.close()
        print(f"{self.run}: given to {self.to}" + ("" if self.out is None else f" in {self.out}"))
        if self.to == "tensorboard":
            print(f"  tensorboard --logdir {self.run / 'tensorboard' if self.out is None else self.out}")
        return 0


@dataclass(frozen=True)
class Package(_Export):
    """Write a run as it ships with the package: averaged weights in float16, without the discriminator.

    The name of the new folder is NAME in pretrained:NAME.
    """

    def __call__(self, command: str) -> int:
        """Write the folder and print its size; returns the exit code."""
        write_shipped(self.load(), self.out, self.out.resolve().name)
        self.say()
        return 0


@dataclass(frozen=True)
class ONNX(_Export):
    """Write a run as an ONNX model, compared with the run in onnxruntime, and a script that draws samples.

    The new folder has model.onnx, README.md and sample.py, which needs numpy and onnxruntime only, and Pillow
    to read images.
    """

    opset: Annotated[int | None, tyro.conf.arg(help="The version of ONNX operators, 18 or later.")] = None
    fp16: Annotated[
        bool, tyro.conf.arg(help="Weights and sums in float16; inputs and images stay float32.")
    ] = False

    def __call__(self, command: str) -> int:
        """Write the folder and print the largest differences; returns the exit code."""
        found = write_onnx(self.load(), self.out, self.opset, self.fp16)
        self.say(f", {_equal(found)}")
        return 0


def _equal(found: dict[int, float]) -> str:
    largest = ", ".join(f"{value:.2g} at batch {batch}" for batch, value in found.items())
    return f"differs from the run by at most {largest}"


@dataclass(frozen=True)
class Torch(_Export):
    """Write a run for torch alone: a program of torch.export, and the network as one file of plain modules.

    The new folder has model.pt2, generator.py with model.safetensors, and README.md; none needs ganforge.
    """

    def __call__(self, command: str) -> int:
        """Write the folder and print the largest differences; returns the exit code."""
        found = write_torch(self.load(), self.out)
        self.say(f", program {_equal(found['program'])}; module {_equal(found['module'])}")
        return 0


@dataclass(frozen=True)
class Hub(_Export):
    """Write a run to share: averaged weights, its options and a model card, for the Hugging Face hub.

    ganforge.load reads the folder, and hf:OWNER/NAME once it is uploaded.
    """

    push: Annotated[
        str | None, tyro.conf.arg(help="Upload it as OWNER/NAME, with the token in HF_TOKEN.")
    ] = None
    license: Annotated[
        str | None, tyro.conf.arg(help="Licence of the weights, as the hub calls it, such as apache-2.0.")
    ] = None
    data_license: Annotated[str | None, tyro.conf.arg(help="Licence of the data, for the card.")] = None

    def __call__(self, command: str) -> int:
        """Write the folder, upload it with `--push`, and print both; returns the exit code."""
        if self.push is not None:
            check_push(self.push)
        write_hub(self.load(), self.out, Licences(self.license, self.data_license), self.push or "")
        self.say()
        if self.push is not None:
            print(f"uploaded: {push(self.out, self.push)}")
        return 0
