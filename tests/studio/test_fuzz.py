"""Requests that schemathesis makes from the schema of the studio, in this process: none is a server error."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from views import small_runs

from ganforge.studio.app import create_app
from ganforge.studio.jobs import Jobs
from ganforge.studio.workshop import Workshop

EXAMPLES = 25
"""For each endpoint."""
HEADERS = {"Host": "localhost", "Authorization": "Bearer fuzz"}
ENDLESS = ("/events", "/stream")
"""How the paths of streams end: an answer to them has no end."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A studio's state; the commands that were started are killed."""
    workshop = Workshop(small_runs(tmp_path_factory.mktemp("home") / "runs"), "cpu", Jobs(1))
    yield workshop
    for job in workshop.jobs.all():
        if job.exit_code is None:
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()


@pytest.mark.slow
def test_no_request_is_a_server_error(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where commands write that are given nothing else
    app = create_app(workshop, "fuzz", [], 0)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)
    tried = dict[str, int]()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith(ENDLESS):
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def attack(case: schemathesis.Case) -> None:
            label = case.operation.label
            tried[label] = tried.get(label, 0) + 1
            if "name" in case.path_parameters and tried[label] % 2:  # every other one is of a run that exists
                case.path_parameters["name"] = "second"
            case.call_and_validate(headers=HEADERS, checks=[not_a_server_error])

        attack()
    assert len(tried) > 8
    assert sum(tried.values()) > 100
    assert not list(tmp_path.iterdir()), "a request wrote outside of the runs folder"
    assert set(os.listdir(workshop.runs.parent)) == {workshop.runs.name}
