"""The verb that draws samples: of latents, labels, sources or sentences."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ganforge.cli.arguments import parse
from ganforge.cli.uses import CHECKPOINT, EXIT_BAD_DATA
from ganforge.errors import UserError, printable
from ganforge.generation.sample import parse_labels, write_samples
from ganforge.generation.text_to_image import read_texts, write_text_samples
from ganforge.generation.translate import write_translations
from ganforge.runs.conditions import training_captions
from ganforge.runs.trained import Weights, Which, load


@dataclass(frozen=True)
class SampleArguments:
    """Draw samples from a run."""

    run: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(help="A run folder.")]]
    out: Annotated[
        Path, tyro.conf.arg(help="PATH.png: a grid; PATH.npz: an array; else a folder of PNGs.")
    ] = Path("samples.png")
    count: Annotated[
        int | None,
        tyro.conf.arg(help="How many samples; left out: 64, or what labels and codes make; of each text 8."),
    ] = None
    seed: Annotated[int, tyro.conf.arg(help="The same seed gives the same samples.")] = 0
    weights: Annotated[Weights, tyro.conf.arg(help="The averaged generator, or the one being trained.")] = (
        "ema"
    )
    labels: Annotated[
        str | None, tyro.conf.arg(help="Classes, numbers or names, such as 3,3,7: they take turns.")
    ] = None
    sources: Annotated[
        str | None,
        tyro.conf.arg(
            help="An image, folder or .zip to translate, for pix2pix; left out: held-out ones of its data."
        ),
    ] = None
    text: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            help="What the images show, for gan_cls and stackgan; may be given again for another; left "
            "out: captions of the run's data."
        ),
    ] = ()
    text_file: Annotated[
        Path | None, tyro.conf.arg(help="A text file with a caption on each line, each for a row of samples.")
    ] = None
    interpolate: Annotated[
        int | None,
        tyro.conf.arg(help="Steps between two texts: a strip as .png, an animation as .gif or .webp."),
    ] = None
    code: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(help="A code fixed, 0=4, or traversed, 1=-1..1; may be given again for another."),
    ] = ()
    checkpoint: Annotated[Which, CHECKPOINT] = "newest"


def run_sample(arguments: Sequence[str]) -> int:
    """`ganforge sample`."""
    given = parse(SampleArguments, arguments, "ganforge sample", "Draw samples from a run.")
    trained = load(given.run, checkpoint=given.checkpoint)
    command = shlex.join(["ganforge", "sample", *arguments])
    labels = None if given.labels is None else parse_labels(given.labels)
    choice = given.count, given.seed, given.weights
    if "sources" in trained.system.needs:
        told = given.text or given.text_file is not None or given.interpolate is not None
        if labels is not None or given.code or told:
            raise UserError(
                f"{trained.run.config.system} translates sources: leave --labels, --code, --text, "
                "--text-file and --interpolate out"
            )
        said, skipped = write_translations(trained, given.out, *choice, command, given.sources)
        print(said)
        for name, why in skipped.items():
            print(f"skipped: {printable(name)} ({why})", file=sys.stderr)
        return EXIT_BAD_DATA if skipped else 0
    texts = [*given.text, *([] if given.text_file is None else read_texts(given.text_file))]
    if not texts and given.interpolate is None and "embeddings" in trained.system.needs:
        texts = training_captions(trained.run, given.seed)
    if texts or given.interpolate is not None:
        if labels is not None or given.code or given.sources is not None:
            raise UserError("--text does not go with --labels, --code or --sources: leave these out")
        print(write_text_samples(trained, given.out, texts, *choice, command, given.interpolate))
        return 0
    if given.sources is not None:
        raise UserError(f"{trained.run.config.system} takes no sources: leave --sources out")
    print(write_samples(trained, given.out, *choice, command, labels, given.code))
    return 0
