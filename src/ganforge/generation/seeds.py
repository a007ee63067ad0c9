"""Samples of several seeds, each as its own command would draw it."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from ganforge.errors import UserError, printable
from ganforge.files.images import save_image
from ganforge.files.png import write_png
from ganforge.generation.output import IMAGES, open_output, provenance, stored_levels, to_stored
from ganforge.generation.sample import draw_samples, parse_code, sample_arrays
from ganforge.reporting import grids
from ganforge.runs.trained import Label, Trained, Weights

PART = re.compile(r"([0-9]{1,20})(?:-([0-9]{1,20}))?")
MOST_SEEDS = 10_000


def parse_seeds(text: str, distinct: bool = False) -> list[int]:
    """The seeds in "1,2,3" or "1-5", each once.

    Raises UserError for another form, and where they must be `distinct` for one that repeats.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        match = PART.fullmatch(part.strip())
        first = int(match[1]) if match else 1
        last = int(match[2] or match[1]) if match else 0
        if not first <= last < 2**64 or last - first >= MOST_SEEDS:
            raise UserError(
                f"--seeds {printable(text)[:80]!r}: expected numbers from 0 with commas between, or a range "
                f"of at most {MOST_SEEDS:,}, such as --seeds 1,2,3 or --seeds 1-5"
            )
        again = next((seed for seed in range(first, last + 1) if seed in seeds), None)
        if distinct and again is not None:
            raise UserError(f"--seeds {printable(text)[:80]}: {again} is there twice: name each seed once")
        seeds |= dict.fromkeys(range(first, last + 1))
    return list(seeds)


def write_seeds(
    trained: Trained,
    out: Path,
    seeds: Sequence[int],
    count: int | None = None,
    weights: Weights = "ema",
    command: str = "",
    labels: Sequence[Label] | None = None,
    codes: Sequence[str] = (),
    overwrite: bool = False,
    truncation: float | None = None,
) -> str:
    """Write `count` samples (left out: one) of each of `seeds` to `out`; returns what was written, in words.

    Those of a seed are what `write_samples` draws by it. `out` ending like an image gets one grid, a sample
    or row for each seed; in .npz the arrays `images`, `seeds` and `about`; any other is a folder of one PNG
    for each seed, of that name. Raises UserError as `write_samples`.
    """
    spec, parsed = trained.run.config.spec, [parse_code(text) for text in codes]
    chosen = None if labels is None else list(labels)
    if any(code.high is not None for code in parsed):
        raise UserError("--seeds does not go with a range of --code: give a single --seed")
    about = provenance(trained, weights, command, truncation=truncation)
    count, levels = 1 if count is None else count, stored_levels(trained)
    with open_output(out, *IMAGES, ".npz", about=about, overwrite=overwrite) as output:
        if spec.values == "points" and not output.form:
            raise UserError(f"--out {out}: 2-D points are written to an image, such as a .png, or an .npz")
        images = []
        for seed in seeds:
            drawing = draw_samples(trained, count, seed, weights, chosen, parsed, False, truncation)
            images.append(torch.cat(list(drawing.parts)))
        together = torch.cat(images)
        if output.is_image:
            listed = about | {"seeds": ", ".join(map(str, seeds))}
            columns = count if count > 1 else None
            grid = grids.draw(together, spec, columns=columns, transparent=True)
            output.write_image(grid, listed, trained.run.config.data.background)
        elif output.form:
            numbers = torch.tensor(seeds, dtype=torch.uint64).repeat_interleave(count).numpy()
            output.write_arrays(about, images=sample_arrays(trained, together), seeds=numbers)
        else:
            out.mkdir(parents=True, exist_ok=True)
            files = [out / f"{seed:06d}.png" for seed in seeds]
            for seed, file, part in zip(seeds, files, images, strict=True):
                own = about | {"seed": str(seed), "index": str(seed)}
                if count > 1 or levels is None:
                    scale = 1 if count == 1 else None
                    save_image(grids.grid(part, scale=scale, transparent=True), file, own)
                else:
                    write_png(file, part.shape[3], part.shape[2], to_stored(part, levels), own)
            for file in set(output.earlier).difference(files) if overwrite else ():
                file.unlink()
    return f"{out}: {len(together)} samples of {len(seeds)} seeds{output.replaced}"
