"""The evaluations that a run folder holds, side by side under their protocols, and which one to trust."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ganforge.files.atomic import make_folder, replace_file
from ganforge.files.reading import read_json
from ganforge.reporting.log import number_of

FOLDER = "evaluations"
FORMER = "evaluation.json"
"""The single evaluation of version 0.1 and 0.2: a bare list of scores, and one among the others here."""
COMPARES_FEATURES = ("fid", "fid_to_training", "kid", "precision")
RULE = (
    "the newest checkpoint first, then averaged weights, then one of all scores, then most samples, then the "
    "newest evaluation"
)


@dataclass(frozen=True)
class StoredEvaluation:
    """One stored evaluation: its scores as they are in the file, and what they were measured with.

    `features` names the feature extractor in a few words, and `protocol` holds all that two evaluations must
    share to be the same one.
    """

    path: Path
    date: str
    scores: tuple[dict[str, Any], ...]
    step: int
    weights: str
    samples: int
    seed: int
    features: str
    protocol: str
    partial: bool = False
    """Whether only some scores were measured: those of a published protocol, or of saved statistics."""

    @property
    def summary(self) -> str:
        """What was measured, in words."""
        counted = f"{self.samples:,} samples" if self.samples else ""
        parts = (
            f"step {self.step:,}",
            counted,
            f"{self.weights} weights",
            f"seed {self.seed}",
            self.features,
        )
        return ", ".join(filter(None, parts))

    @property
    def values(self) -> dict[str, float]:
        """Name -> value of the scores that are finite numbers."""
        values = {str(score.get("name")): number_of(score.get("value")) for score in self.scores}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def trust(self) -> tuple[int, bool, bool, int, str]:
        """The larger, the more trustworthy, by `RULE`."""
        return self.step, self.weights == "ema", not self.partial, self.samples, self.date


def read_evaluations(run: Path) -> tuple[list[StoredEvaluation], list[Path]]:
    """The stored evaluations of a run folder, the most trustworthy first, and files that cannot be read.

    A former `evaluation.json` counts unless its protocol was measured again since.
    """
    found: dict[str, StoredEvaluation] = {}
    unreadable = []
    for path in [run / FORMER, *sorted((run / FOLDER).glob("*.json"))]:
        try:
            evaluation = _read(path)
        except FileNotFoundError:
            continue
        except (ValueError, OSError):
            unreadable.append(path)
            continue
        found[evaluation.protocol] = evaluation
    return sorted(found.values(), key=lambda evaluation: evaluation.trust, reverse=True), unreadable


def store_evaluation(run: Path, scores: Sequence[dict[str, Any]]) -> None:
    """Store `scores` in the run folder under their protocol, in the place of an evaluation with the same."""
    path = evaluation_path(run, scores)
    make_folder(path.parent)
    content = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "scores": list(scores)}
    replace_file(path, (json.dumps(content, indent=1) + "\n").encode())


def evaluation_path(run: Path, scores: Sequence[dict[str, Any]]) -> Path:
    """The file of `scores` in a run folder: its name says the protocol."""
    evaluation = _described(run, "", list(scores))
    # Tells apart what the words leave out.
    digest = hashlib.sha256(evaluation.protocol.encode()).hexdigest()[:8]
    counted = f"{evaluation.samples}-samples" if evaluation.samples else ""
    features = re.sub("[^a-z0-9]+", "-", evaluation.features.lower()).strip("-")
    seed = f"seed-{evaluation.seed}"
    parts = (f"step-{evaluation.step:06d}", evaluation.weights, counted, seed, features, digest)
    return run / FOLDER / ("_".join(filter(None, parts)) + ".json")


def _read(path: Path) -> StoredEvaluation:
    """The evaluation in a file; raises ValueError where it holds something else."""
    content = read_json(path)
    if isinstance(content, list):  # older than any with a date
        content = {"date": "", "scores": content}
    stored = content.get("scores") if isinstance(content, dict) else None
    scores = [score for score in stored if isinstance(score, dict)] if isinstance(stored, list) else []
    if not scores:
        raise ValueError("no scores")
    return _described(path, str(content.get("date", "")), scores)


def _described(path: Path, date: str, scores: list[dict[str, Any]]) -> StoredEvaluation:
    """What the scores' own protocols say about all of them."""
    protocols = {str(score.get("name")): _dict(score.get("protocol")) for score in scores}
    compared = [protocols[name] for name in COMPARES_FEATURES if name in protocols]
    features = str(compared[0].get("features", "")) if compared else ""
    counts = [_number(protocol.get("generated")) for protocol in protocols.values()]
    step, seed = (_number(_usual(protocols, key)) for key in ("step", "seed"))
    weights, samples = str(_usual(protocols, "weights") or "none"), max(counts)
    # Not the path of the data, which may have moved: the run holds their fingerprint.
    against = str(compared[0].get("reference", "")) if compared else ""
    reference = re.findall("[0-9]+ images", against)
    published = _usual(protocols, "published protocol")
    saved = [against] if against.startswith("saved statistics") else []
    parts = [step, weights, samples, seed, features, *reference, *saved, *filter(None, [published])]
    named = published or _short(features)
    partial = bool(published or saved)
    stored = tuple(scores)
    return StoredEvaluation(
        path, date, stored, step, weights, samples, seed, named, json.dumps(parts), partial
    )


def _short(features: str) -> str:
    """The first words of the description of a feature extractor."""
    return features.partition(",")[0].partition(" of ")[0].partition(" in ")[0][:40]


def _usual(protocols: dict[str, dict[str, Any]], key: str) -> Any:
    """The value that most of the protocols have: some scores are of real images, and have none."""
    values = Counter(str(protocol[key]) for protocol in protocols.values() if key in protocol)
    return values.most_common(1)[0][0] if values else None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):  # "train, 2048 images, in place of samples"
        return 0


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
