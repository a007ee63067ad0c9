"""Scores of scenes: whether samples show what a held-out caption says, and how they vary within one."""

import numpy as np
import torch
from torch import Tensor

from ganforge.data.batch import to_uint8
from ganforge.data.dataset import Dataset, some_rows
from ganforge.data.open import fit_arrays
from ganforge.data.options import DataOptions
from ganforge.data.sources.arrays import Arrays
from ganforge.data.sources.catalogue import locate
from ganforge.data.sources.scene_attributes import BACKGROUND, COLOUR, FIRST, KIND, NONE, PLACE, SECOND, SIZE
from ganforge.data.sources.scenes import draw_scenes, sorted_digits
from ganforge.evaluation.features.scenes import DESCRIPTION, read_scenes
from ganforge.evaluation.score import CHUNK, Evaluated, Protocol, Score, finite
from ganforge.runs.conditions import captions_at

MOST_CAPTIONS = 2_000
VARIED_CAPTIONS, PER_CAPTION = 100, 8
_OF_OBJECTS = {"kind": KIND, "colour": COLOUR, "size": SIZE, "place": PLACE}


def score_scenes(evaluated: Evaluated) -> list[Score]:
    """Samples of held-out scenes, combinations never trained on, by the first caption, which is complete.

    How often all attributes are right, and each; the same of the held-out images themselves; and the
    distance of two samples of a caption, relative to that of two real images of it.
    """
    trained, scenes, protocol = evaluated.trained, evaluated.dataset.scenes, evaluated.protocol
    if scenes is None or trained is None or "embeddings" not in evaluated.needs:
        return []
    name, reference = evaluated.reference
    rows = some_rows(reference, min(MOST_CAPTIONS, len(evaluated.samples)))
    attributes = scenes[name][rows]
    captions = f"the first of each of {len(rows)} of {evaluated.dataset.options.data} {name}"
    rule = protocol | {"captions": captions, "read": DESCRIPTION}
    choice = {"seed": protocol["seed"], "weights": protocol["weights"]}
    drawn = trained.draw(len(rows), given=captions_at(reference, rows), **choice)
    samples = to_uint8(finite(torch.cat(list(drawn)), "samples"))
    scores = attribute_scores(_read(samples), attributes, rule)
    real = f"{evaluated.dataset.options.data} {name}, {len(rows)} real images"
    right = _read(reference.read(rows)) == attributes
    scores.append(_share("attributes_right_real", right.all(1), {"data": real, "read": DESCRIPTION}))
    count = min(VARIED_CAPTIONS, len(rows))
    chosen = rows[torch.arange(count) * len(rows) // count]
    several = captions_at(reference, chosen.repeat_interleave(PER_CAPTION))
    varied = to_uint8(torch.cat(list(trained.draw(len(several.images), given=several, **choice))))
    value = variety(varied) / variety(real_scenes(evaluated.dataset, name, chosen, protocol["seed"]))
    rule = protocol | {
        "captions": f"{len(chosen)}, {PER_CAPTION} samples of each",
        "distance": "root mean square of pixels, mean over pairs, over that of real images of the caption",
    }
    return [*scores, Score(name="variety_within_caption", value=value, unit="of real", protocol=rule)]


def _read(images: Tensor) -> Tensor:
    return torch.cat([read_scenes(part) for part in images.split(CHUNK)])


def attribute_scores(read: Tensor, attributes: Tensor, rule: Protocol) -> list[Score]:
    """The shares of `read` attributes that are those requested, both int64 `[n, 9]` (`scene_attributes`)."""
    right = read == attributes
    two = attributes[:, SECOND + KIND] != NONE
    scores = [_share("attributes_right", right.all(1), rule, "all attributes of a caption")]
    for name, rows in (("one_object", ~two), ("two_objects", two)):
        if rows.any():
            scores.append(_share(f"attributes_right_{name}", right.all(1)[rows], rule))
    for name, column in _OF_OBJECTS.items():
        # Where one object is requested, a second one counts against all its attributes.
        both = right[:, FIRST + column] & right[:, SECOND + column]
        scores.append(_share(f"{name}_right", both, rule))
    return [*scores, _share("background_right", right[:, BACKGROUND], rule)]


def _share(name: str, right: Tensor, rule: Protocol, note: str = "") -> Score:
    protocol = rule | {"images": len(right)}
    value = 100 * float(right.double().mean())
    return Score(name=name, value=value, unit="%", protocol=protocol, note=note)


def real_scenes(dataset: Dataset, split: str, rows: Tensor, seed: int) -> Tensor:
    """For each of the scenes `rows` of a split `PER_CAPTION` images with its attributes, uint8."""
    assert dataset.scenes is not None
    mnist = locate(DataOptions(data="mnist"))
    assert isinstance(mnist, Arrays)
    attributes = dataset.scenes[split][rows].repeat_interleave(PER_CAPTION, 0).numpy()
    random = np.random.Generator(np.random.Philox(key=[seed % 2**64, 0]))
    side = max(dataset.spec.height, dataset.spec.width)
    drawn = draw_scenes(attributes, sorted_digits(mnist, split), side, random)
    return fit_arrays(drawn.transpose(0, 2, 3, 1), dataset.options)


def variety(images: Tensor) -> float:
    """The mean distance of two images of a caption; `images` uint8 come `PER_CAPTION` after one another."""
    groups = (images.float() / 255).flatten(1).unflatten(0, (-1, PER_CAPTION))
    distances = torch.cdist(groups, groups) / groups.shape[2] ** 0.5
    pairs = PER_CAPTION * (PER_CAPTION - 1)
    return float(distances.sum((1, 2)).mean()) / pairs
