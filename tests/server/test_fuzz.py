"""Requests that schemathesis makes from the schema, in this process: none is a server error."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error

from ganforge.server.app import create_app
from ganforge.server.guard import State
from ganforge.server.models import load_models
from ganforge.server.telemetry import Telemetry

EXAMPLES = 15
"""For each endpoint; `benchmarks/serve.py` sends 10,000 of its own."""


@pytest.mark.slow
def test_no_request_is_a_server_error(runs: Path) -> None:
    names = ("dcgan", "cgan", "pretrained:gan-cls-emoji", "pretrained:pix2pix-edges2emoji")
    telemetry = Telemetry()
    models = load_models([Path(n) if ":" in n else runs / n for n in names], "cpu")
    app = create_app(models, State(64, telemetry), None)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()

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
            nonlocal tried
            tried += 1
            case.call_and_validate(headers={"Host": "localhost"}, checks=[not_a_server_error])

        attack()
    assert tried > 50
