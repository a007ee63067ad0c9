"""`ganforge sample`: samples of latents, labels, sources or prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import CHECKPOINT, SYSTEM, WEIGHTS
from ganforge.cli.tables import print_skipped
from ganforge.errors import UserError
from ganforge.generation.sample import parse_labels, write_samples
from ganforge.generation.text_to_image import read_texts, write_text_samples
from ganforge.generation.translate import write_translations
from ganforge.runs.conditions import training_captions
from ganforge.runs.trained import Weights, Which, load


@dataclass(frozen=True)
class Sample:
    """Draw samples from a run."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    out: Annotated[
        Path, tyro.conf.arg(help="PATH.png: a grid; PATH.npz: an array; else a folder of PNGs.")
    ] = Path("samples.png")
    count: Annotated[
        int | None,
        tyro.conf.arg(help="Number of samples; default: 64, or as labels and codes need; 8 of each prompt."),
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="The same seed gives the same samples.")] = 0
    weights: Annotated[Weights, WEIGHTS] = "ema"
    labels: Annotated[
        str | None,
        tyro.conf.arg(help="Classes, as numbers or names, such as 3,3,7; samples cycle through them."),
    ] = None
    sources: Annotated[
        str | None,
        tyro.conf.arg(help="An image, folder or .zip to translate, for pix2pix; default: held-out sources."),
    ] = None
    text: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            help="A prompt, for gan_cls and stackgan; repeat the option for more; default: captions of "
            "the run's data."
        ),
    ] = ()
    text_file: Annotated[
        Path | None,
        tyro.conf.arg(help="A text file with a prompt on each line; each makes a row of samples."),
    ] = None
    interpolate: Annotated[
        int | None,
        tyro.conf.arg(help="Steps between two prompts: a strip as .png, an animation as .gif or .webp."),
    ] = None
    code: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="A latent code, fixed (0=4) or traversed (1=-1..1); repeat the option for more."),
    ] = ()
    checkpoint: Annotated[Which, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the samples; returns the exit code."""
        trained = load(self.run, checkpoint=self.checkpoint, system=self.system)
        labels = None if self.labels is None else parse_labels(self.labels)
        choice = self.count, self.seed, self.weights
        if "sources" in trained.system.needs:
            prompts = self.text or self.text_file is not None or self.interpolate is not None
            if labels is not None or self.code or prompts:
                raise UserError(
                    f"{trained.run.config.system} translates sources: leave --labels, --code, --text, "
                    "--text-file and --interpolate out"
                )
            written, skipped = write_translations(trained, self.out, *choice, command, self.sources)
            print(written)
            return print_skipped(skipped)
        texts = [*self.text, *([] if self.text_file is None else read_texts(self.text_file))]
        if not texts and self.interpolate is None and "embeddings" in trained.system.needs:
            texts = training_captions(trained.run, self.seed)
        if texts or self.interpolate is not None:
            if labels is not None or self.code or self.sources is not None:
                raise UserError("--text excludes --labels, --code and --sources: leave these out")
            print(write_text_samples(trained, self.out, texts, *choice, command, self.interpolate))
            return 0
        if self.sources is not None:
            raise UserError(f"{trained.run.config.system} uses no sources: leave --sources out")
        print(write_samples(trained, self.out, *choice, command, labels, self.code))
        return 0
