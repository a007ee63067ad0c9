"""Signs of a training that goes wrong, found in its log: said in words when they begin and when they end.

Everything here is a function of the lines of `metrics.jsonl`, so a resumed run says what it would have said.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain
from statistics import median
from typing import Any, NamedTuple

from ganforge.runs.folder import Run

# A discriminator that is this sure has nothing left to learn, and what it tells the generator no longer
# changes. The means of healthy runs on MNIST (gan, dcgan) stay between 0.05 and 0.955.
# It is over when D is less sure by as much again as healthy ones are at most.
SATURATED, UNSATURATED = 0.02, 0.1
# Of the largest of the first norms: healthy runs end between a tenth of them and a thousand times. The
# absolute limit is for runs whose gradient has vanished before their first line.
VANISHED_SHARE, VANISHED_NORM = 1e-2, 1e-5
# While the discriminator is less sure than this, a small gradient is the end of the game and no failure.
SURE_FAKE = 0.1
# "If norms are over 100 things are screwing up" (ganhacks, item 10). Sums over pixels have such norms from
# the start and hard games grow towards them slowly: hence also ten times what was usual before.
EXPLODED_NORM, EXPLODED_SHARE = 100.0, 10.0
# The mean distance of two samples, of that of two real images: 0.93 and more in healthy runs, 0.35 where all
# samples are one noisy image. Samples that still become more different, by 5 % an image, are only young.
# Samples of one label are held against real images of one label.
LOST_SHARE, GROWTH = 0.4, 1.05
# A classifier is confident about blots too; most samples are of one class until they are diverse.
# Then it is sure of digits nearly as it is of real ones: 0.88 to 0.97 of that.
VARIED_SHARE, SURE_SHARE = 0.8, 0.85
# Of ten classes, 64 samples of a perfect generator lack one every 85th time, and a run looks often. So where
# one is missing, more samples are drawn and counted, others each time. The chance that a class which is not
# missing is called so, in a run of any length, is at most this: the n-th count has a share of 1 / n (n + 1)
# of it, and each class an equal part of that.
FALSE_ALARMS = 0.01
NUM_RECOUNTED = 512
# The median distance of healthy samples to their nearest training image is that of unseen real ones, or more,
# blurred and mixed ones included. Blank samples too are near to something, hence only varied ones count.
COPIED_SHARE = 0.5

# A sign is said when it has lasted so many log lines and steps, or images; its end likewise.
NUM_LINES, NUM_STEPS, NUM_IMAGES = 5, 100, 2
# The discriminator learns before the generator does: for some hundred steps every run looks ill. The paper's
# GAN draws one grey cloud for 500 steps, and after 1,000 its digits are still of a few kinds.
WARM_UP_STEPS, IMAGE_WARM_UP_STEPS = 300, 1_000
NUM_FIRST_LINES, NUM_USUAL_LINES = 5, 50

_ADVICE = {
    "discriminator_learning_rate": "a smaller --discriminator-learning-rate",
    "learning_rate": "a smaller --learning-rate",
    "label_smoothing": "--label-smoothing 0.1",
    "instance_noise": "--instance-noise 0.1",
    "pack": "--pack 2",
    "batch": "a larger --batch",
}
_AGAINST_SURENESS = ("discriminator_learning_rate", "label_smoothing", "instance_noise")
_AGAINST_COLLAPSE = ("pack", "batch", "learning_rate")


class _Reading(NamedTuple):
    """What a line says of one signal, with the texts of its beginning and of its end.

    Where it begins `at_once`, it need not last for it, and there is no warm-up.
    """

    signal: str
    wrong: bool
    begun: str
    gone: str
    at_once: bool = False


class _Streak:
    """Turns when enough lines in a row, over enough steps, say the contrary of what held."""

    def __init__(self) -> None:
        self.wrong = False
        self._lines = self._since = 0

    def turns(self, step: int, wrong: bool, num_lines: int, num_steps: int) -> bool:
        """Take in a line; whether it turns `wrong`."""
        if wrong == self.wrong:
            self._lines = 0
            return False
        if not self._lines:
            self._since = step
        self._lines += 1
        if self._lines < num_lines or step - self._since < num_steps:
            return False
        self.wrong, self._lines = wrong, 0
        return True


class Diagnosis:
    """The signals of a run, from its log lines in their order; `options` are those of its system."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._streaks: dict[str, _Streak] = {}
        self._first_norms: list[float] = []
        self._usual_norms: dict[str, deque[float]] = {}
        self._largest_distances: dict[str, float] = {}
        self._num_skipped: dict[str, float] = {}
        self._num_recounts = 0

    @classmethod
    def of(cls, run: Run) -> "Diagnosis":
        """That of a run, as far as its log goes."""
        health = cls(run.config.config)
        for kind in ("train", "samples"):
            for line in run.metrics(kind):
                health.look(line)
        return health

    def look(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        """The "diagnosis" lines that follow from the next "train" or "samples" line."""
        step = line["step"]
        if line["kind"] == "train":
            finders = [self._saturation, self._vanishing, self._explosion, self._skipping]
            warm_up, lasting = WARM_UP_STEPS, (NUM_LINES, NUM_STEPS)
        else:
            finders = [self._variety, self._classes, self._copies]
            warm_up, lasting = IMAGE_WARM_UP_STEPS, (NUM_IMAGES, 0)
        said = []
        for reading in chain.from_iterable(find(line) for find in finders):
            streak = self._streaks.setdefault(reading.signal, _Streak())
            at_once = reading.at_once and reading.wrong
            if step < warm_up and not reading.at_once:
                continue
            if streak.turns(step, reading.wrong, *((1, 0) if at_once else lasting)):
                text = reading.begun if reading.wrong else reading.gone
                said.append({"kind": "diagnosis", "step": step, "signal": reading.signal, "text": text})
        return said

    def _saturation(self, line: dict[str, Any]) -> Iterator[_Reading]:
        if "real_probability" not in line or "fake_probability" not in line:
            return
        real, fake = line["real_probability"], line["fake_probability"]
        signal = "discriminator_saturated"
        limit = UNSATURATED if signal in self._streaks and self._streaks[signal].wrong else SATURATED
        beliefs = f"D(real) is {real:.4g}, D(fake) {fake:.2g}"
        yield _Reading(
            signal,
            real > 1 - limit and fake < limit,
            f"the discriminator is saturated: {beliefs}, so the generator learns little from it: "
            + self._advice(_AGAINST_SURENESS),
            f"the discriminator is no longer saturated: {beliefs}",
        )

    def _vanishing(self, line: dict[str, Any]) -> Iterator[_Reading]:
        norm = line.get("generator_gradient_norm")
        if norm is None or "fake_probability" not in line:  # other losses do not flatten out
            return
        if len(self._first_norms) < NUM_FIRST_LINES:
            self._first_norms.append(norm)
        first = max(self._first_norms)
        yield _Reading(
            "generator_gradient_vanishing",
            norm < max(VANISHED_SHARE * first, VANISHED_NORM) and line["fake_probability"] < SURE_FAKE,
            f"the generator's gradient vanishes: its norm is {norm:.2g}, at the beginning {first:.2g}: "
            + self._advice(_AGAINST_SURENESS),
            f"the generator's gradient is back: its norm is {norm:.2g}",
        )

    def _explosion(self, line: dict[str, Any]) -> Iterator[_Reading]:
        for key, norm in line.items():
            name = key.removesuffix("_gradient_norm")
            if name == key:
                continue
            norms = self._usual_norms.setdefault(name, deque(maxlen=NUM_USUAL_LINES))
            usual = median(norms) if norms else norm
            wrong = norm > EXPLODED_NORM and norm > EXPLODED_SHARE * usual
            if not wrong:
                norms.append(norm)
            yield _Reading(
                f"{name}_gradient_exploding",
                wrong,
                f"the gradient of the {name} explodes: its norm is {norm:.3g}, usually {usual:.2g}: "
                + self._advice(("learning_rate",)),
                f"the gradient of the {name} is as before: its norm is {norm:.3g}",
            )

    def _variety(self, line: dict[str, Any]) -> Iterator[_Reading]:
        for signal, key, of_what in (
            ("modes_lost", "sample_distance", ""),
            ("modes_lost_within_classes", "class_distance", " of one label"),
        ):
            distance, real = line.get(key), line.get(f"real_{key}")
            if distance is None or not real:
                continue
            largest = self._largest_distances.get(key, 0.0)
            self._largest_distances[key] = max(largest, distance)
            share = f"two samples differ by {distance:.3g} on average, two real images by {real:.3g}"
            yield _Reading(
                signal,
                distance < LOST_SHARE * real and distance <= GROWTH * largest,
                f"the samples{of_what} are nearly all alike: {share}: " + self._advice(_AGAINST_COLLAPSE),
                f"the samples{of_what} are different again: {share}",
            )

    def _classes(self, line: dict[str, Any]) -> Iterator[_Reading]:
        if "classes" not in line:
            return
        missing: list[str] = []
        recounted = line.get("recounted_classes", {})
        count, expected = sum(recounted.values()), line["expected_classes"]
        if count:
            self._num_recounts += 1
            limit = FALSE_ALARMS / (self._num_recounts * (self._num_recounts + 1)) / len(expected)
            shares = {name: expected[name] / sum(expected.values()) for name in _absent(line)}
            missing = [
                f"{name} ({count * share:.1f} expected)"
                for name, share in shares.items()
                if not recounted[name] and (1 - share) ** count <= limit
            ]
        yield _Reading(
            "classes_missing",
            bool(missing) and _varied(line) and _sure(line),
            f"no sample of {count} is of the classes {', '.join(missing)}: "
            + self._advice(_AGAINST_COLLAPSE),
            "every class that should be is among the samples again",
        )

    def _copies(self, line: dict[str, Any]) -> Iterator[_Reading]:
        distance, real = line.get("neighbour_distance"), line.get("real_neighbour_distance")
        if distance is None or not real:
            return
        distances = (
            f"the median distance to the nearest is {distance:.3g}, that of unseen real ones {real:.3g}"
        )
        yield _Reading(
            "memorised",
            distance < COPIED_SHARE * real and _varied(line),
            f"the samples are copies of training images: {distances}: use more images, --flip where a "
            "mirror image is as real, or fewer steps",
            f"the samples are no copies of training images any more: {distances}",
        )

    def _skipping(self, line: dict[str, Any]) -> Iterator[_Reading]:
        for key, count in line.items():
            name = key.removesuffix("_skipped_updates")
            if name == key:
                continue
            total = self._num_skipped[name] = self._num_skipped.get(name, 0) + count
            yield _Reading(
                f"{name}_updates_skipped",
                count > 0,
                f"{count:.0f} updates of the {name} with NaN or infinity were skipped since the last line, "
                f"{total:.0f} in all: " + self._advice(("learning_rate",)),
                f"no more updates of the {name} are skipped: {total:.0f} were in all",
                at_once=True,
            )

    def _advice(self, names: tuple[str, ...]) -> str:
        """What to change, of this system's options."""
        if self._options.get("loss") == "minimax" and names == _AGAINST_SURENESS:
            return "begin a new run with --loss non_saturating"
        known = [_ADVICE[name] for name in names if name in self._options]
        known = known or [_ADVICE["learning_rate"]]
        return (
            f"begin a new run with {' or '.join([', '.join(known[:-1]), known[-1]] if known[1:] else known)}"
        )


def _varied(line: dict[str, Any]) -> bool:
    """Whether the samples differ nearly as much as real images."""
    distance, real = line.get("sample_distance"), line.get("real_sample_distance")
    return distance is not None and real is not None and distance > VARIED_SHARE * real


def _sure(line: dict[str, Any]) -> bool:
    """Whether the classifier is nearly as confident about the samples as about real images."""
    return bool(line["classifier_confidence"] > SURE_SHARE * line["real_classifier_confidence"])


def _absent(line: dict[str, Any]) -> list[str]:
    """The classes that some samples should be of, and none is."""
    return [name for name, count in line["classes"].items() if not count and line["expected_classes"][name]]


def must_recount(line: dict[str, Any]) -> bool:
    """Whether a "samples" line lacks a class where that can mean something: more samples have to tell."""
    known = line["step"] >= IMAGE_WARM_UP_STEPS and "classes" in line
    return known and bool(_absent(line)) and _varied(line) and _sure(line)
