"""A linear support vector machine on stored features: what can be read off them with few labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganforge.errors import UserError

if TYPE_CHECKING:
    from sklearn.svm import LinearSVC

# Those of the code of Radford et al. 2015, `svhn/svhn_semisup_analysis.py`.
PENALTIES = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2)


@dataclass(frozen=True)
class Probe:
    """What a probe found: errors in percent, `plus_minus` 1.96 standard deviations over the draws."""

    error_percent: float
    plus_minus: float
    validation_error_percent: float
    penalty: float
    num_labels: int
    num_draws: int
    num_features: int
    num_test: int


@dataclass(frozen=True)
class _Split:
    features: NDArray[np.float32]
    labels: NDArray[np.int64]


def probe(path: Path, num_labels: int | None = None, num_draws: int = 10, seed: int = 0) -> Probe:
    """Test error of a linear L2-SVM on the features in `path`, as `write_features` stores them.

    With `num_labels`, as many of each class, drawn `num_draws` times from the training split; left out: all
    of them, once. The penalty is the one of `PENALTIES` with the smallest mean error on the validation split
    (without one: on a fifth of the training split), over at most 10 draws. Radford et al. 2015, section 5.2.
    Raises UserError where features or labels are missing.
    """
    train, validation, test = _read(path)
    draws = [np.arange(len(train.labels))]
    if num_labels is not None:
        random = np.random.default_rng(seed)
        draws = [_draw(train.labels, num_labels, random, path) for _ in range(num_draws)]
    mean_errors = {
        penalty: float(np.mean([_error(train, rows, validation, penalty) for rows in draws[:10]]))
        for penalty in PENALTIES
    }
    penalty = min(mean_errors, key=mean_errors.__getitem__)
    errors = [_error(train, rows, test, penalty) for rows in draws]
    return Probe(
        error_percent=float(np.mean(errors)),
        plus_minus=1.96 * float(np.std(errors)),
        validation_error_percent=mean_errors[penalty],
        penalty=penalty,
        num_labels=len(draws[0]),
        num_draws=len(draws),
        num_features=train.features.shape[1],
        num_test=len(test.labels),
    )


def _read(path: Path) -> tuple[_Split, _Split, _Split]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as features: make it with `ganforge features RUN`") from error
    needed = ("train_features", "train_labels", "test_features", "test_labels")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise UserError(
            f"{path} has no {missing[0]}: a probe needs labelled data with a test split, such as mnist"
        )
    splits = {
        split: _Split(arrays[f"{split}_features"], arrays[f"{split}_labels"])
        for split in ("train", "validation", "test")
        if f"{split}_features" in arrays
    }
    train = splits["train"]
    if "validation" not in splits:
        cut = len(train.labels) * 4 // 5
        splits["validation"] = _Split(train.features[cut:], train.labels[cut:])
        train = _Split(train.features[:cut], train.labels[:cut])
    return train, splits["validation"], splits["test"]


def _draw(
    labels: NDArray[np.int64], count: int, random: np.random.Generator, path: Path
) -> NDArray[np.int64]:
    """Row numbers of `count` labels, as many of each class."""
    classes = np.unique(labels)
    each, rest = divmod(count, len(classes))
    smallest = min(int((labels == one).sum()) for one in classes)
    if rest or not 1 <= each <= smallest:
        raise UserError(
            f"--labels {count}: expected a multiple of the {len(classes)} classes of {path}, at most "
            f"{smallest * len(classes)}"
        )
    return np.concatenate(
        [random.choice(np.flatnonzero(labels == one), each, replace=False) for one in classes]
    )


def _error(train: _Split, rows: NDArray[np.int64], other: _Split, penalty: float) -> float:
    """Error in percent on `other` of a machine that was trained on these rows of `train`."""
    machine = _machine(penalty).fit(train.features[rows], train.labels[rows])
    return 100 * float(np.mean(machine.predict(other.features) != other.labels))


def _machine(penalty: float) -> "LinearSVC":
    try:
        from sklearn.svm import LinearSVC
    except ModuleNotFoundError as error:
        raise UserError("a probe needs scikit-learn: type `pip install 'ganforge[probe]'`") from error
    return LinearSVC(C=penalty, dual="auto", random_state=0, max_iter=10_000)
