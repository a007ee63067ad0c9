"""Sweeps: what a spec may say, exact resume after death at any moment, shared folders, the page."""

import itertools
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from command import files_of, run, start
from documents import ROOT, blocks, code_in, table
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ganforge.errors import UserError
from ganforge.training.sweep import ERROR, importance, open_study, run_sweep
from ganforge.training.sweep_spec import SweepSpec, read_spec

OPTIONS = """
[options]
steps = 12
batch = 8
latent_size = 4
generator_hidden = [8]
discriminator_hidden = [6]
evaluate_samples = 64
device = "cpu"
precision = "fp32"
"""
SPACE = """
[space]
learning_rate = {low = 0.001, high = 0.3, log = true}
generator_hidden = [[8], [16, 8]]
discriminator_hidden = [[6], [12]]
batch = {low = 4, high = 12}
"""
HEAD = 'system = "gan"\ndata = "ring"\nscore = "frechet_distance"\n'
FIXED = re.sub(r"(?m)^(batch|\w+_hidden) .*\n", "", OPTIONS)
SPEC = f"{HEAD}trials = 20\n{FIXED}{SPACE}[early_stopping]\nfirst = 3\nfactor = 2\n"


def spec_of(folder: Path, text: str = SPEC) -> SweepSpec:
    path = folder / "spec.toml"
    path.write_text(text, encoding="utf-8")
    return read_spec(path)


def statistics_of(study: optuna.Study) -> list[dict[str, Any]]:
    """All that a sweep found, without times."""
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            "params": trial.params,
            "scores": trial.intermediate_values,
            "value": trial.value,
            "error": trial.user_attrs.get(ERROR),
        }
        for trial in study.trials
    ]


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    """The statistics and the folder of a sweep of 20 trials that nothing has stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    return statistics_of(run_sweep(spec_of(folder), folder / "sweep", quiet)), folder / "sweep"


@pytest.mark.slow
def test_a_sweep_has_trials_that_finish_and_that_are_stopped(
    unbroken: tuple[list[dict[str, Any]], Path],
) -> None:
    found, folder = unbroken
    states = [trial["state"] for trial in found]
    assert len(found) == 20
    assert states.count("COMPLETE") >= 2
    assert states.count("PRUNED") >= 5
    assert {tuple(trial["scores"]) for trial in found} <= {(3,), (3, 6), (3, 6, 12)}
    assert all(trial["value"] == trial["scores"][12] for trial in found if trial["state"] == "COMPLETE")
    assert len({trial["params"]["learning_rate"] for trial in found}) == 20
    config = json.loads((folder / "trial-0007" / "config.json").read_text())
    assert config["config"]["generator_hidden"] == json.loads(found[7]["params"]["generator_hidden"])
    assert config["config"]["learning_rate"] == found[7]["params"]["learning_rate"]


class Death(BaseException):
    """What ends a process, in the middle of it."""


def mortal(every: int) -> Callable[..., None]:
    """`append_logs` that dies at every n-th call, in turn before and after it has written."""
    append, calls, deaths = JournalFileBackend.append_logs, itertools.count(1), itertools.count()

    def dying(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        dies = next(calls) % every == 0
        if dies and next(deaths) % 2:
            raise Death
        append(self, logs)
        if dies:
            raise Death

    return dying


_append = JournalFileBackend.append_logs


def dying_at_rungs(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
    """`append_logs` that dies after Optuna stored that a rung is done, before anything follows from it."""
    _append(self, logs)
    if any("completed_rung" in name for log in logs for name in log.get("system_attr", {})):
        raise Death


@pytest.mark.slow
@pytest.mark.parametrize("mortal_at", [mortal(5), dying_at_rungs], ids=["any line", "rungs"])
def test_death_at_any_line_of_the_journal_changes_nothing(
    tmp_path: Path,
    unbroken: tuple[list[dict[str, Any]], Path],
    monkeypatch: pytest.MonkeyPatch,
    mortal_at: Callable[..., None],
) -> None:
    spec, deaths, study = spec_of(tmp_path), 0, None
    monkeypatch.setattr(JournalFileBackend, "append_logs", mortal_at)
    while study is None:
        try:
            study = run_sweep(spec, tmp_path / "sweep", quiet)
        except Death:
            deaths += 1
    assert deaths >= 15
    assert statistics_of(study) == unbroken[0]


@pytest.mark.slow
def test_kill_9_at_any_time_changes_nothing(
    tmp_path: Path, unbroken: tuple[list[dict[str, Any]], Path]
) -> None:
    """The real command, killed four times; its runs have the same weights in the end too."""
    spec = spec_of(tmp_path)
    for lines, wait in ((1, 0.05), (2, 0.15), (3, 0.3), (1, 0.6)):
        process = start("sweep", "spec.toml", "--run", "sweep", cwd=tmp_path)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(wait)
        process.kill()
        process.communicate()
        assert all(line.startswith("trial ") for line in said)
    done = run("sweep", "spec.toml", "--run", "sweep", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert statistics_of(open_study(spec, tmp_path / "sweep")) == unbroken[0]
    for trial in unbroken[1].glob("trial-*"):
        mine = files_of(tmp_path / "sweep" / trial.name / "checkpoints")
        theirs = files_of(trial / "checkpoints")
        weights = [name for name in theirs if name.endswith("/system.safetensors")]
        assert weights
        assert {name: mine[name] for name in weights} == {name: theirs[name] for name in weights}


def test_a_line_that_a_kill_tore_is_mended(tmp_path: Path) -> None:
    text = f"{HEAD}trials = 2\n{OPTIONS}[space]\nlearning_rate = [0.1, 0.01]\n"
    spec = spec_of(tmp_path, text)
    run_sweep(spec, tmp_path / "sweep", quiet)
    whole = (tmp_path / "sweep" / "journal.log").read_bytes()
    with open(tmp_path / "sweep" / "journal.log", "ab") as file:
        file.write(b'{"op_code":4,"worker')
    more = spec_of(tmp_path, text.replace("trials = 2", "trials = 3"))
    assert len(run_sweep(more, tmp_path / "sweep", quiet).trials) == 3
    assert (tmp_path / "sweep" / "journal.log").read_bytes().startswith(whole + b'{"op_code":')


def test_a_grid_is_done_in_order_and_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = "[space]\nlearning_rate = [0.1, 0.01]\nseed = {low = 3, high = 5}\n"
    spec = spec_of(tmp_path, f'{HEAD}search = "grid"\n{OPTIONS}{space}')
    monkeypatch.setattr(JournalFileBackend, "append_logs", mortal(4))
    study = None
    while study is None:
        try:
            study = run_sweep(spec, tmp_path / "sweep", quiet)
        except Death:
            continue
    combinations = [trial.params for trial in study.trials]
    expected = itertools.product((0.1, 0.01), (3, 4, 5))
    assert combinations == [{"learning_rate": rate, "seed": seed} for rate, seed in expected]
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_random_search_differs_with_the_seed_only(tmp_path: Path) -> None:
    text = (
        f'{HEAD}search = "random"\ntrials = 3\n{OPTIONS}[space]\nlearning_rate = {{low = 0.01, high = 0.1}}\n'
    )
    rates = [
        [
            trial.params["learning_rate"]
            for trial in run_sweep(spec_of(tmp_path, each), tmp_path / str(n), quiet).trials
        ]
        for n, each in enumerate((text, text, "seed = 1\n" + text))
    ]
    assert rates[0] == rates[1]
    assert not set(rates[0]) & set(rates[2])


def test_a_trial_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    text = f'{HEAD}search = "grid"\n{OPTIONS}[space]\nlearning_rate = [0.01, 1e30]\n'
    said: list[str] = []
    study = run_sweep(spec_of(tmp_path, text), tmp_path / "sweep", said.append)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert "became nan" in study.trials[1].user_attrs[ERROR]
    assert "failed" in said[1]
    assert importance(study) == {}


def test_three_failures_at_first_end_the_sweep(tmp_path: Path) -> None:
    text = f'{HEAD}search = "grid"\n{OPTIONS}[space]\nseed = [1, 2, 3, 4]\n'.replace(
        '"ring"', '"no/such/data"'
    )
    with pytest.raises(UserError, match=r"the first 3 trials failed, the last one: .*no/such/data"):
        run_sweep(spec_of(tmp_path, text), tmp_path / "sweep", quiet)


def test_a_score_that_the_data_do_not_have_is_named(tmp_path: Path) -> None:
    text = f"{HEAD}trials = 2\n{OPTIONS}[space]\nlearning_rate = [0.1, 0.01]\n"
    with pytest.raises(
        UserError, match=r"score = 'fid': .* has frechet_distance, modes.*: choose one of these"
    ):
        run_sweep(spec_of(tmp_path, text.replace("frechet_distance", "fid")), tmp_path / "sweep", quiet)


def test_another_sweep_in_the_folder_is_rejected(tmp_path: Path) -> None:
    text = f"{HEAD}trials = 1\n{OPTIONS}[space]\nlearning_rate = [0.1, 0.01]\n"
    run_sweep(spec_of(tmp_path, text), tmp_path / "sweep", quiet)
    other = spec_of(tmp_path, text.replace("0.01]", "0.02]"))
    with pytest.raises(UserError, match="holds another sweep: space differ"):
        open_study(other, tmp_path / "sweep")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="not the folder of a sweep and not empty"):
        open_study(other, tmp_path / "mine")


def test_the_spec_of_the_guide_is_valid_and_its_fields_are_explained(tmp_path: Path) -> None:
    page = ROOT / "docs" / "researcher.md"
    (example,) = blocks(page, "toml")
    spec = spec_of(tmp_path, example)
    assert spec.rungs == [250, 500, 1000, 2000]
    explained = [name for row in table(page, "| field | meaning |") for name in code_in(row[0])]
    assert explained == list(SweepSpec.model_fields)


def test_the_guide_quotes_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks" / "sweep.json").read_text(encoding="utf-8"))
    assert (found["statistics_equal"], found["weights_equal"]) == (True, True)
    text = (ROOT / "docs" / "researcher.md").read_text(encoding="utf-8")
    assert f"{found['trials']} trials after {found['kills']} kills" in text


ONE = f"{HEAD}trials = 2\n{OPTIONS}[space]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}trials = 2\n{OPTIONS}[space]\n", r"\[space\] is empty: name at least one"),
        (ONE + "learning_rate = []", r"\[space\] learning_rate has no choices"),
        (ONE + "lr = [0.1]", r"unknown option lr: did you mean learning_rate\? in \[space\]"),
        (ONE.replace("batch", "bath") + "learning_rate = [0.1]", r"unknown option bath: did you mean batch"),
        (ONE + "seed = [0, 1, 0]", r"\[space\] seed: 0 is there twice: name each choice once"),
        (ONE + "batch = [4, 8]", r"batch is in \[options\] and in \[space\]: leave one out"),
        (ONE + 'learning_rate = ["fast"]', r"\[space\] learning_rate: input should be .* got 'fast'"),
        (ONE + "learning_rate = {low = 0.1, high = 0.01}", r"space\.learning_rate.*: low must be below high"),
        (ONE + "learning_rate = {low = 0.0, high = 1.0, log = true}", "log goes with numbers above 0"),
        (ONE.replace("steps = 12", "") + "steps = [4, 8]", r"\[space\] steps does not go with a sweep"),
        (ONE + "data = ['ring']", r"\[space\] data does not go with a sweep"),
        (ONE.replace("steps = 12", "") + "learning_rate = [0.1]", r"\[options\] steps is missing"),
        (ONE.replace("trials = 2", "") + "learning_rate = [0.1]", "trials is missing"),
        (ONE.replace("trials", "trails") + "learning_rate = [0.1]", "trails: unknown, expected system, data"),
        (ONE.replace("frechet_distance", "beauty") + "learning_rate = [0.1]", "score: input should be 'fid'"),
        (ONE.replace('"gan"', '"gam"') + "learning_rate = [0.1]", "unknown system 'gam': did you mean"),
        (ONE + "learning_rate = [0.1]\n[early_stopping]\nfirst = 12", "expected fewer than the 12 steps"),
        (ONE + "learning_rate = [0.1", "cannot be read: TOML"),
        ('search = "grid"\n' + ONE + "learning_rate = [0.1]", "a grid has as many as it has combinations"),
        (
            f'search = "grid"\n{HEAD}{OPTIONS}[space]\nlearning_rate = {{low = 0.1, high = 0.2}}',
            "a grid needs choices, or a range with step",
        ),
    ],
)
def test_mistakes_in_a_spec_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        spec_of(tmp_path, text)
    assert "\n" not in str(refused.value)


def test_ranges_of_a_grid() -> None:
    base = {"system": "gan", "data": "ring", "score": "fid", "search": "grid", "options": {"steps": 1}}
    spec = SweepSpec.model_validate(
        base
        | {
            "space": {
                "learning_rate": {"low": 0.1, "high": 0.3, "step": 0.1},
                "batch": {"low": 4, "high": 8, "step": 4},
            }
        }
    )
    assert [each["batch"] for each in spec.grid] == [4, 8] * 3
    assert [each["learning_rate"] for each in spec.grid[::2]] == pytest.approx([0.1, 0.2, 0.3])
    early = spec.model_copy(update={"options": {"steps": 100}})
    assert early.rungs == [100]
    assert SweepSpec.model_validate(
        early.model_dump() | {"early_stopping": {"first": 4, "factor": 3}}
    ).rungs == [4, 12, 36, 100]


@pytest.fixture
def processes() -> Iterator[list[Any]]:
    """Processes that a test starts, ended with it."""
    started: list[Any] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_the_command_shares_the_folder_among_jobs_and_writes_the_page(tmp_path: Path) -> None:
    space = "[space]\nlearning_rate = {low = 0.01, high = 0.1}\nlatent_size = [3, 5]\n"
    spec_of(tmp_path, f"{HEAD}trials = 6\n{OPTIONS.replace('latent_size = 4', '')}{space}")
    done = run("sweep", "spec.toml", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "spec"
    assert "6 finished" in done.stdout
    assert f"page          {Path('runs/spec/sweep.html')}" in done.stdout
    logs = [path.read_text() for path in sorted(folder.glob("process-*.log"))]
    trials = re.findall(r"^trial (\d+) of 6", "".join(logs), re.MULTILINE)
    assert sorted(map(int, trials)) == list(range(6))  # each by one process, once
    page = (folder / "sweep.html").read_text(encoding="utf-8")
    assert page.count("<polyline") == 6
    assert ">learning rate</text>" in page
    assert "<h2>Importance</h2>" in page
    assert "http://" not in page
    again = run("sweep", "spec.toml", cwd=tmp_path)
    assert again.returncode == 0
    assert "trial 0 of" not in again.stdout
    assert (folder / "sweep.html").read_text(encoding="utf-8") == page


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_resumes(tmp_path: Path, processes: list[Any]) -> None:
    text = f"{HEAD}trials = 2\n{OPTIONS}[space]\nlearning_rate = [0.1, 0.01]\n".replace(
        "steps = 12", "steps = 300000"
    )
    spec_of(tmp_path, text)
    process = start("sweep", "spec.toml", "--run", "sweep", "--jobs", "2", cwd=tmp_path)
    processes.append(process)
    logs = [tmp_path / "sweep" / f"trial-000{number}" / "metrics.jsonl" for number in (0, 1)]
    until = time.monotonic() + 90
    while not all(log.exists() and '"train"' in log.read_text() for log in logs):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped, everything is saved: the same command resumes"
    for number in (0, 1):
        assert list((tmp_path / "sweep" / f"trial-000{number}" / "checkpoints").glob("[0-9]*"))
    study = open_study(spec_of(tmp_path, text), tmp_path / "sweep")
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING] * 2  # taken up by the next process
