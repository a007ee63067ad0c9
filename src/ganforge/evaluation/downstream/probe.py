"""A linear support vector machine on stored features: what can be read off them with few labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

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
    Raises UserError where features or labels are missing, or no classifier can be made of them.
    """
    train, validation, test = _read(path)
    draws = [np.arange(len(train.labels))]
    if num_labels is not None:
        if seed < 0:
            raise UserError(f"--seed {seed}: expected 0 or more")
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
    arrays = _read_arrays(path)
    splits = {
        split: _split_of(arrays, split, path)
        for split in ("train", "validation", "test")
        if split != "validation" or "validation_features" in arrays
    }
    train = splits["train"]
    if len(np.unique(train.labels)) < 2:
        raise UserError(f"{path} has training features of one class: a probe tells two or more apart")
    if "validation" not in splits:
        # In a fixed random order, since folders lie class by class.
        order = np.random.default_rng(0).permutation(len(train.labels))
        kept, others = np.split(order, [len(order) * 4 // 5])
        splits["validation"] = _Split(train.features[others], train.labels[others])
        train = _Split(train.features[kept], train.labels[kept])
    return train, splits["validation"], splits["test"]


def _read_arrays(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    # A .npy is an array, which has no `files`, and cannot be entered.
    except (OSError, ValueError, EOFError, TypeError, AttributeError, BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read as features: make it with `ganforge analyze features RUN`"
        ) from error


def _split_of(arrays: dict[str, Any], split: str, path: Path) -> _Split:
    """The features and labels of a split, as many of both, and finite."""
    names = f"{split}_features", f"{split}_labels"
    for name in names:
        if name not in arrays:
            raise UserError(
                f"{path} has no {name}: a probe needs labelled data with a test split, such as mnist"
            )
    features, labels = (arrays[name] for name in names)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise UserError(
            f"{path}: {names[0]} {list(features.shape)} and {names[1]} {list(labels.shape)}: expected "
            "[count, n] and [count]"
        )
    if not np.isfinite(features).all():
        raise UserError(f"{path}: {names[0]} hold NaN or infinity: a probe needs finite numbers")
    return _Split(features, labels)


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
