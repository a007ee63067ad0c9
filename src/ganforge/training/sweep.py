"""A sweep: trials that Optuna proposes, each a run; killed and repeated it ends as if it had not been.

FOLDER/  journal.log  sweep.json  trial-0000/ ...  sweep.html  locks/
What a trial tries depends on the journal and on the number of the trial alone, and its run resumes exactly.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from ganforge.errors import UserError
from ganforge.files.atomic import make_folder, replace_file
from ganforge.files.reading import read_json
from ganforge.runs.folder import Run
from ganforge.runs.options import HIGHER_IS_BETTER
from ganforge.training.sweep_spec import Range, SweepSpec, label_of
from ganforge.training.train import train

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

JOURNAL, SPEC, LOCKS = "journal.log", "sweep.json", "locks"
ERROR = "error"
"""The attribute of a failed trial that says why."""
FIRST = 3


def run_sweep(spec: SweepSpec, folder: Path, say: Callable[[str], None]) -> "Study":
    """Do the trials of `spec` that `folder` lacks, and return them all; `say` gets a line for each.

    Several processes may do so in one folder at the same time: each takes trials that no other has. Raises
    UserError where the folder holds another sweep or the score is none of the data's, and
    `training.loop.Stopped` after SIGINT or SIGTERM; the same call resumes.
    """
    study = open_study(spec, folder)
    while True:
        with _taken(study, spec, folder) as trial:
            if trial is None:
                return study
            _work(trial, spec, folder, say)


def open_study(spec: SweepSpec, folder: Path) -> "Study":
    """The trials in `folder`, none in a new one; raises UserError where it holds another sweep."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError("a sweep needs Optuna: type `pip install 'ganforge[sweep]'`") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if folder.exists() and any(folder.iterdir()) and not (folder / SPEC).is_file():
        raise UserError(f"{folder} is not the folder of a sweep and not empty: name another with --run")
    make_folder(folder / LOCKS)
    with FileLock(folder / LOCKS / "sweep"):
        _check_same(spec, folder)
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(_backend(folder / JOURNAL)),
            study_name="sweep",
            direction="maximize" if HIGHER_IS_BETTER[spec.score] else "minimize",
            pruner=_pruner(spec),
            load_if_exists=True,
        )
        if spec.search == "grid":  # in the order of the file; a kill may have left a part of it
            for combination in spec.grid[len(study.trials) :]:
                study.enqueue_trial(combination)
    return study


def _check_same(spec: SweepSpec, folder: Path) -> None:
    """Keep what the sweep is in its folder; raise UserError where it has another, but for more trials."""
    new, path = spec.model_dump(mode="json"), folder / SPEC
    if path.is_file():
        old = read_json(path)
        changed = sorted(name for name in new if name != "trials" and old.get(name) != new[name])
        if changed:
            raise UserError(
                f"{folder} holds another sweep: {', '.join(changed)} differ: name another folder with --run"
            )
    replace_file(path, (json.dumps(new, indent=1) + "\n").encode())


def _backend(path: Path) -> Any:
    """The journal, locked so that death releases it, and mended where a kill tore its last line."""
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    class Lock(JournalFileSymlinkLock):
        _lock = FileLock(path.parent / LOCKS / "journal")

        def acquire(self) -> bool:
            self._lock.acquire()
            content = path.read_bytes()
            if content and not content.endswith(b"\n"):
                with open(path, "r+b") as file:
                    file.truncate(content.rfind(b"\n") + 1)
            return True

        def release(self) -> None:
            self._lock.release()

    return JournalFileBackend(str(path), lock_obj=Lock(str(path)))


def _pruner(spec: SweepSpec) -> "BasePruner":
    from optuna.pruners import NopPruner, SuccessiveHalvingPruner

    early = spec.early_stopping
    return NopPruner() if early is None else SuccessiveHalvingPruner(early.first, early.factor)


def _sampler(spec: SweepSpec, number: int, axis: int) -> "BaseSampler":
    """A sampler whose random numbers are those of this trial and option, whatever was drawn before."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(np.random.SeedSequence([spec.seed, number, axis]).generate_state(1)[0])
    return TPESampler(seed=seed, constant_liar=True) if spec.search == "tpe" else RandomSampler(seed)


def _distribution(axis: Any) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(axis, Range):
        return CategoricalDistribution([label_of(choice) for choice in axis])
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), axis.log, int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, axis.log, axis.step)


@contextmanager
def _taken(study: "Study", spec: SweepSpec, folder: Path) -> Iterator["Trial | None"]:
    """A trial to work on, held while this process does: one that a kill left, else a new one, else None."""
    from optuna.trial import Trial, TrialState

    with FileLock(folder / LOCKS / "sweep"):
        begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        for left in begun:
            if left.state == TrialState.RUNNING and (lock := _hold(folder, left.number)) is not None:
                # Optuna has no public way to take up a trial that another process began.
                trial: Trial | None = Trial(study, left._trial_id)
                break
        else:
            trial, lock = None, None
            if len(begun) < spec.count:
                trial = study.ask()
                lock = _hold(folder, trial.number)
        if trial is not None:
            _choose(study, trial, spec)
    try:
        yield trial
    finally:
        if lock is not None:
            lock.release()


def _hold(folder: Path, number: int) -> FileLock | None:
    """The lock of a trial; None where a living process has it."""
    lock = FileLock(folder / LOCKS / f"trial-{number:04d}", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def _choose(study: "Study", trial: "Trial", spec: SweepSpec) -> None:
    """Choose the value of each option that the trial does not have yet."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    study.sampler = _sampler(spec, trial.number, len(spec.space))
    _ = trial.relative_params  # drawn together, now, whichever options the trial has already
    for index, (name, axis) in enumerate(spec.space.items()):
        study.sampler = _sampler(spec, trial.number, index)
        distribution = _distribution(axis)
        if isinstance(distribution, CategoricalDistribution):
            trial.suggest_categorical(name, distribution.choices)
        elif isinstance(distribution, IntDistribution):
            low, high, step = distribution.low, distribution.high, distribution.step
            trial.suggest_int(name, low, high, step=step, log=distribution.log)
        elif isinstance(distribution, FloatDistribution):
            ends = distribution.low, distribution.high
            trial.suggest_float(name, *ends, step=distribution.step, log=distribution.log)


def _work(trial: "Trial", spec: SweepSpec, folder: Path, say: Callable[[str], None]) -> None:
    """Train from rung to rung, until the last or until the trial is stopped for its score."""
    from optuna.trial import TrialState

    study, path = trial.study, folder / f"trial-{trial.number:04d}"
    chosen = [f"{key} = {_text(value)}" for key, value in trial.params.items()]
    name = f"trial {trial.number} of {spec.count} ({', '.join(chosen)})"
    scores = dict(_frozen(trial).intermediate_values)
    for index, steps in enumerate(spec.rungs):
        if steps not in scores:
            fields = spec.fields_of(trial.params) | {"steps": steps, "evaluate_every": steps}
            try:
                train(spec.system, spec.data, run=path, quiet=True, **fields)
            except UserError as error:
                _fail(trial, str(error))
                say(f"{name}: failed: {error}")
                return
            scores[steps] = _score(Run.open(path), spec, steps)
            if not math.isfinite(scores[steps]):
                _fail(trial, f"{spec.score} is {scores[steps]} at step {steps}")
                say(f"{name}: failed: {spec.score} is {scores[steps]}")
                return
            trial.report(scores[steps], steps)
        last = steps == spec.steps
        if not last and max(scores) == steps and _should_stop(trial, spec, index):
            study.tell(trial, state=TrialState.PRUNED)
            say(f"{name}: {spec.score} {scores[steps]:.4g} at step {steps:,}, stopped early")
            return
    study.tell(trial, scores[spec.steps])
    say(f"{name}: {spec.score} {scores[spec.steps]:.4g}")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fail(trial: "Trial", error: str) -> None:
    """Record that a trial failed; raises UserError where the first ones all did: then more would too."""
    from optuna.trial import TrialState

    trial.set_user_attr(ERROR, error)
    trial.study.tell(trial, state=TrialState.FAIL)
    states = [each.state for each in trial.study.get_trials(deepcopy=False)]
    if states[:FIRST] == [TrialState.FAIL] * FIRST:
        raise UserError(f"the first {FIRST} trials failed, the last one: {error}")


def _score(run: Run, spec: SweepSpec, steps: int) -> float:
    """The score that a run logged at `steps`; raises UserError where its data have no such score."""
    measured = [line for line in run.metrics("evaluation") if line["step"] == steps][-1]
    if spec.score not in measured:
        known = ", ".join(name for name in measured if name in HIGHER_IS_BETTER)
        raise UserError(f"score = {spec.score!r}: {run.path} has {known}: choose one of these")
    return float(measured[spec.score])


def _frozen(trial: "Trial") -> "FrozenTrial":
    """The trial as it is stored."""
    return trial.study.get_trials(deepcopy=False)[trial.number]


def _should_stop(trial: "Trial", spec: SweepSpec, rung: int) -> bool:
    """Whether successive halving stops the trial at this rung.

    Optuna stores that a rung is done before the decision is: where a kill came between, it is made again
    among the trials as they are stored, without this one counting twice.
    """
    import optuna

    own, done = _frozen(trial), f"completed_rung_{rung}"
    if done not in own.system_attrs:
        return trial.should_prune()
    again = optuna.create_study(direction=trial.study.direction, pruner=_pruner(spec))
    again.add_trials([other for other in trial.study.trials if other.number != own.number])
    again.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=own.params,
            distributions=own.distributions,
            intermediate_values=own.intermediate_values,
            system_attrs={name: value for name, value in own.system_attrs.items() if name != done},
        )
    )
    return again.pruner.prune(again, again.trials[-1])


def importance(study: "Study") -> dict[str, float]:
    """Option -> share of the score's variation it explains, by PED-ANOVA; empty where trials are too few."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
