"""`ganforge sample`: samples of latents, labels, sources or prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import CHECKPOINT, MOVED, OVERWRITE, SYSTEM, TRUNCATION, WEIGHTS
from ganforge.cli.tables import print_skipped
from ganforge.distributed import num_processes, refuse_several_processes
from ganforge.errors import UserError
from ganforge.generation.many import IN_EACH, write_many
from ganforge.generation.nearest_captions import describe_prompts
from ganforge.generation.sample import parse_labels, write_samples
from ganforge.generation.seeds import parse_seeds, write_seeds
from ganforge.generation.text_to_image import read_texts, write_text_samples
from ganforge.generation.translate import write_translations
from ganforge.runs.conditions import training_captions
from ganforge.runs.data import captions_of
from ganforge.runs.trained import Label, Trained, Weights, load


@dataclass(frozen=True)
class Sample:
    """Draw samples from a run."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    out: Annotated[
        Path,
        tyro.conf.arg(
            help="PATH.png (or .jpg, .webp, .gif): a grid; PATH.npz: an array; else a folder of PNGs."
        ),
    ] = Path("samples.png")
    count: Annotated[
        int | None,
        tyro.conf.arg(help="Number of samples; default: 64, or as labels and codes need; 8 of each prompt."),
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="The same seed gives the same samples.")] = 0
    seeds: Annotated[
        str | None,
        tyro.conf.arg(help="Several seeds, such as 1,2,3 or 1-5: --count samples of each, by default one."),
    ] = None
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
        tyro.conf.arg(
            help="Steps between two prompts: a strip as .png or .jpg, an animation as .gif or .webp."
        ),
    ] = None
    code: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="A latent code, fixed (0=4) or traversed (1=-1..1); repeat the option for more."),
    ] = ()
    truncation: Annotated[float | None, TRUNCATION] = None
    data: Annotated[str | None, MOVED] = None
    tar: Annotated[
        bool, tyro.conf.arg(help="Into a folder: archives of 10,000 samples, .tar, instead of files.")
    ] = False
    overwrite: Annotated[bool, OVERWRITE] = False
    checkpoint: Annotated[str, CHECKPOINT] = "newest"
    system: Annotated[str | None, SYSTEM] = None

    def __call__(self, command: str) -> int:
        """Write the samples; returns the exit code."""
        trained = load(self.run, checkpoint=self.checkpoint, system=self.system)
        labels = None if self.labels is None else parse_labels(self.labels)
        self._check_processes(trained)
        if self.seeds is not None:
            return self._of_seeds(trained, labels, command)
        choice = self.count, self.seed, self.weights
        cut = self.truncation
        if "sources" in trained.system.needs:
            if cut is not None:
                raise UserError(f"--truncation: {trained.run.config.system} has no latents: leave it out")
            prompts = self.text or self.text_file is not None or self.interpolate is not None
            if labels is not None or self.code or prompts:
                raise UserError(
                    f"{trained.run.config.system} translates sources: leave --labels, --code, --text, "
                    "--text-file and --interpolate out"
                )
            written, skipped = write_translations(
                trained, self.out, *choice, command, self.sources, self.overwrite, self.data
            )
            print(written)
            return print_skipped(skipped)
        texts = [*self.text, *([] if self.text_file is None else read_texts(self.text_file))]
        if not texts and self.interpolate is None and "embeddings" in trained.system.needs:
            texts = training_captions(trained.run, self.seed, self.data)
        if texts or self.interpolate is not None:
            if labels is not None or self.code or self.sources is not None:
                raise UserError("--text excludes --labels, --code and --sources: leave these out")
            print(
                write_text_samples(
                    trained, self.out, texts, *choice, command, self.interpolate, self.overwrite, cut
                )
            )
            if self.text or self.text_file is not None:
                for line in describe_prompts(captions_of(trained.run, self.data), texts):
                    print(line)
            return 0
        if self.sources is not None:
            raise UserError(f"{trained.run.config.system} uses no sources: leave --sources out")
        for line in self._write(trained, labels, command):
            print(line)
        return 0

    def _check_processes(self, trained: Trained) -> None:
        """Refuse torchrun where each of its processes would write the same files."""
        given = self.seeds is not None or self.text or self.text_file or self.interpolate is not None
        if given or {"sources", "embeddings"} & trained.system.needs:
            refuse_several_processes("sample with --seeds, prompts or sources")

    def _write(self, trained: Trained, labels: list[Label] | None, command: str) -> Iterator[str]:
        """Write samples of latents and classes; very many go into several folders. Yields what is said."""
        if not self.tar and num_processes() == 1 and (self.out.suffix or (self.count or 0) <= IN_EACH):
            yield write_samples(
                trained,
                self.out,
                self.count,
                self.seed,
                self.weights,
                command,
                labels,
                self.code,
                self.overwrite,
                self.truncation,
            )
            return
        if self.out.suffix or self.count is None:
            raise UserError(
                "--tar and torchrun are for many samples in a folder: use --count 100000 --out samples"
            )
        if self.code or self.truncation is not None or self.overwrite:
            raise UserError(
                f"more than {IN_EACH:,} samples in a folder, --tar and torchrun exclude --code, --truncation "
                "and --overwrite: leave these out"
            )
        yield from write_many(
            trained, self.out, self.count, self.seed, self.weights, command, labels, self.tar
        )

    def _of_seeds(self, trained: Trained, labels: list[Label] | None, command: str) -> int:
        others = self.text or self.text_file or self.interpolate is not None or self.sources or self.seed
        if others or {"sources", "embeddings"} & trained.system.needs:
            raise UserError(
                "--seeds is for samples of latents and classes, without --seed, --text, --text-file, "
                "--interpolate and --sources: give one --seed instead"
            )
        seeds = parse_seeds(str(self.seeds))
        choice = self.count, self.weights, command, labels, self.code, self.overwrite, self.truncation
        print(write_seeds(trained, self.out, seeds, *choice))
        return 0
