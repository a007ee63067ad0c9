"""Names that lead out of the runs folder, hostile run folders, and the number of jobs."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studios import Studio, studio
from views import small_runs

OUTSIDE = [
    *("...", "../outside", "/etc", "first/..", "..\\outside", ".trash", ".studio", "-rf", "a\0b", "a\nb"),
    *("first\u200b", "\u202efirst", "ﬁrst", "é", "a" * 101, "~", "$HOME", "C:\\", "con:", "*", "pretrained:"),
    *("pretrained:..", "pretrained:../../x", "pretrained:/etc", "hf:owner/name"),
]
CALLS = [("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/samples/0.png"), ("POST", "/stop"),
         ("POST", "/resume"), ("POST", "/start")]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs`, and next to it `outside`, which nobody may read or change."""
    folder = tmp_path_factory.mktemp("home")
    small_runs(folder / "runs")
    shutil.copytree(folder / "runs" / "first", folder / "outside")
    (folder / "runs" / "linked").symlink_to(folder / "outside")
    (folder / "runs" / "relative").symlink_to("../outside")
    return folder


@pytest.fixture(scope="module")
def started(home: Path) -> Iterator[Studio]:
    with studio(home / "runs", "--jobs", 2) as each:
        yield each


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", [*OUTSIDE, "linked", "relative"])
def test_names_stay_in_the_folder(started: Studio, home: Path, name: str) -> None:
    before, entries = contents(home / "outside"), sorted(os.listdir(home / "runs"))
    for method, rest in CALLS:
        for written in {quote(name, safe=""), quote(quote(name, safe=""), safe="")}:
            body = {"words": ["gan", "--data", "ring"]} if rest == "/start" else None
            answer = started.client.request(method, f"/api/runs/{written}{rest}", json=body)
            assert answer.status_code in (404, 405, 422), f"{method} {written}{rest}: {answer.text[:200]}"
            assert "outside" not in answer.text or name in ("linked", "relative", "../outside", "..\\outside")
    assert contents(home / "outside") == before
    assert sorted(set(os.listdir(home / "runs")) - {".studio"}) == sorted(set(entries) - {".studio"})


def test_links_are_listed_but_not_read(started: Studio) -> None:
    rows = {row["name"]: row for row in started.client.get("/api/runs").json()["runs"]}
    assert rows["first"]["state"] == "finished"
    for name in ("linked", "relative"):
        assert rows[name]["state"] == "unreadable"
        assert "link" in rows[name]["why"]
        assert "system" not in rows[name]


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(name=st.text(min_size=1, max_size=30), call=st.sampled_from(CALLS[:-1]))
def test_any_name(started: Studio, name: str, call: tuple[str, str]) -> None:
    written = quote(name.encode("utf-8", "surrogatepass"), safe="")
    answer = started.client.request(call[0], f"/api/runs/{written}{call[1]}")
    assert answer.status_code in (404, 405, 409, 422)
    assert set(answer.json()) == {"error"}


HOSTILE: dict[str, Any] = {
    "samples/²5.png": b"x",
    "samples/0000009.png": b"x",
    "samples/7.png": ("link", "/etc/passwd"),
    "samples/8.png": "pipe",
    "samples/" + "9" * 60 + ".png": b"x",
    "metrics.jsonl": b'\x00\xff{}\n[1]\n{"kind": "train", "step": 1e400}\n' + b'{"a":' * 5_000 + b"\n",
    "evaluations/a.json": b"{",
}


def test_hostile_folders(started: Studio, home: Path) -> None:
    """Files of a foreign run are read, or not; never followed, waited for or executed."""
    run = home / "runs" / "hostile"
    shutil.copytree(home / "runs" / "first", run)
    for name, content in HOSTILE.items():
        path = run / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if content == "pipe":
            os.mkfifo(path)
        elif isinstance(content, tuple):
            path.symlink_to(content[1])
        else:
            path.write_bytes(content)
    began = time.monotonic()
    assert started.client.get("/api/runs").status_code == 200
    assert started.client.get("/api/runs/hostile").status_code == 200
    for step in (5, 7, 8, 10**30, -1, "²5", "%2e%2e%2fconfig", int("9" * 60)):
        answer = started.client.get(f"/api/runs/hostile/samples/{step}.png")
        assert answer.status_code in (404, 422, 200 if step in (5, int("9" * 60)) else 404), step
        assert b"root:" not in answer.content
    (run / ".lock").unlink()
    os.mkfifo(run / ".lock")  # whether it is held is not waited for
    assert started.client.get("/api/runs/hostile").status_code == 200
    for name in ("metrics.jsonl", "config.json"):
        (run / name).rename(run / "kept")
        os.mkfifo(run / name)
        rows = {row["name"]: row for row in started.client.get("/api/runs").json()["runs"]}
        assert rows["first"]["state"] == "finished"
        assert rows["hostile"]["state"] == "unreadable"
        assert started.client.get("/api/runs/hostile").status_code in (404, 422)
        (run / name).unlink()
        (run / "kept").rename(run / name)
    assert time.monotonic() - began < 20
    shutil.rmtree(run)


@pytest.mark.parametrize(
    "config",
    [b"", b"{}", b"[]", b"null", b"\xff", b"{" * 10_000, b'{"system": "../x", "config": {"steps": 1e999}}'],
)
def test_damaged_configs_are_shown_as_such(started: Studio, home: Path, config: bytes) -> None:
    run = home / "runs" / "damaged"
    run.mkdir(exist_ok=True)
    (run / "config.json").write_bytes(config)
    rows = {row["name"]: row for row in started.client.get("/api/runs").json()["runs"]}
    assert rows["damaged"]["state"] == "unreadable"
    assert rows["damaged"]["why"]
    assert started.client.get("/api/runs/damaged").status_code == 422


@pytest.mark.parametrize("word", ["a\0b", "\ud800", "--run", "--run=../x"])
def test_words_that_no_command_may_have(started: Studio, home: Path, word: str) -> None:
    body = json.dumps({"words": ["gan", "--data", word]}).encode()
    answer = started.client.post(
        "/api/runs/odd/start", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert not (home / "runs" / "odd").exists()


def test_jobs_are_limited(started: Studio, home: Path) -> None:
    words = ["gan", "--data", "ring", "--steps", "100000"]
    answers = [started.client.post(f"/api/runs/job{i}/start", json={"words": words}) for i in range(3)]
    try:
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "job0, job1 are at work" in answers[2].json()["error"]
        assert int(answers[2].headers["Retry-After"]) > 0
        again = started.client.post("/api/runs/job0/start", json={"words": words})
        assert again.status_code == 409
        assert started.client.post("/api/runs/first/resume", json={"steps": 30}).status_code == 429
    finally:
        for i in range(2):
            deadline = time.monotonic() + 60
            while started.client.get("/api/runs").json()["jobs"][f"job{i}"]["working"]:
                started.client.post(f"/api/runs/job{i}/stop")
                assert time.monotonic() < deadline
                time.sleep(0.3)
    assert started.client.post("/api/runs/job0/stop").status_code == 409
