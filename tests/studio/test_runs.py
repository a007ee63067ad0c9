"""Runs in the studio: what the endpoints answer about real run folders, and one session in a real browser."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import draw_images, run, start
from studios import Studio, page_of, studio

import ganforge
from ganforge.runs.folder import Run, is_held
from ganforge.runs.state import state_of

OPTIONS = {"steps": 4, "batch": 4, "width": 4, "sample_every": 2, "log_every": 1, "device": "cpu"}
WORDS = ["--steps", "100000", "--batch", "4", "--width", "4", "--sample-every", "50", "--log-every", "10",
         "--checkpoint-every", "50", "--device", "cpu", "--precision", "fp32"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and two runs on them that differ in the seed."""
    folder = tmp_path_factory.mktemp("studio")
    images = draw_images(folder / "images", side=16)
    for seed in (0, 1):
        path = folder / "runs" / f"seed-{seed}"
        ganforge.train("dcgan", str(images), run=path, seed=seed, quiet=True, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def opened(place: Path) -> Iterator[Studio]:
    with studio(place / "runs", cwd=place) as started:
        yield started


def wait_for(what: Any, seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.1)
    return found


def row(studio: Studio, name: str) -> dict[str, Any]:
    rows = studio.client.get("/api/runs").json()["runs"]
    return next((each for each in rows if each["name"] == name), {})


def test_runs_are_listed(opened: Studio) -> None:
    found = row(opened, "seed-1")
    assert (found["state"], found["step"], found["steps"], found["seed"]) == ("finished", 4, 4, 1)
    assert (found["system"], found["grid"]) == ("dcgan", 4)


def test_a_run_says_what_its_report_says(opened: Studio) -> None:
    found = opened.client.get("/api/runs/seed-0").json()
    assert found["name"] == "seed-0"
    assert found["grids"] == [0, 2, 4]
    assert found["facts"][0] == "Finished: 4 steps"
    assert {chart["title"] for chart in found["charts"]["large"]} >= {"Losses"}
    grid = opened.client.get("/api/runs/seed-0/samples/2.png")
    assert grid.content == (opened.runs / "seed-0/samples/000002.png").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/runs/nobody", 404),
        ("GET", "/api/runs/..%2Fimages", 404),
        ("GET", "/api/runs/.trash", 422),
        ("GET", "/api/runs/seed-0/samples/3.png", 404),
        ("GET", "/api/runs/pretrained:nobody", 404),
        ("POST", "/api/runs/seed-0/stop", 409),
        ("POST", "/api/runs/seed-0/start", 409),
        ("DELETE", "/api/runs/pretrained:digits-vae", 403),
        ("GET", "/api/compare?runs=seed-0&runs=seed-0", 422),
        ("GET", "/api/compare?runs=seed-0", 422),
    ],
)
def test_mistakes_are_one_line(opened: Studio, method: str, path: str, status: int) -> None:
    body = {"words": []} if path.endswith("start") else None
    answer = opened.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    if path != "/api/runs/..%2Fimages":
        assert "\n" not in answer.json()["error"]


def test_a_link_out_of_the_folder_is_refused(opened: Studio, tmp_path: Path) -> None:
    outside = shutil.copytree(opened.runs / "seed-0", tmp_path / "elsewhere")
    link = opened.runs / "linked"
    link.symlink_to(outside)
    try:
        answer = opened.client.get("/api/runs/linked")
        assert answer.status_code == 422
        assert opened.client.delete("/api/runs/linked").status_code == 422
        assert (outside / "config.json").exists()
    finally:
        link.unlink()


def test_comparing_shows_what_differs(opened: Studio) -> None:
    found = opened.client.get("/api/compare?runs=seed-0&runs=seed-1").json()
    assert found["differences"] == [{"name": "seed", "values": ["0", "1"]}]
    assert {"generator loss", "discriminator loss"} <= {chart["title"] for chart in found["charts"]}
    assert len(found["scores"]["missing"]) == 2


def test_trash_and_back(opened: Studio) -> None:
    shutil.copytree(opened.runs / "seed-0", opened.runs / "old")
    moved = opened.client.delete("/api/runs/old").json()["moved"]
    assert not row(opened, "old")
    assert (opened.runs / ".trash" / moved / "config.json").exists()
    assert opened.client.post("/api/runs/old/restore", json={"moved": moved}).status_code == 200
    assert row(opened, "old")["state"] == "finished"
    shutil.rmtree(opened.runs / "old")


def test_data_are_checked_with_thumbnails(opened: Studio, place: Path) -> None:
    found = opened.client.post("/api/check", json={"data": "images"}).json()
    assert found["problems"] == []
    assert found["thumbnails"].startswith("data:image/png;base64,")
    wrong = opened.client.post("/api/check", json={"data": "no_such_folder"})
    assert wrong.status_code == 422
    assert "no_such_folder" in wrong.json()["error"]


def test_forms_say_why(opened: Studio) -> None:
    found = opened.client.post("/api/form", json={"system": "auto", "data": {"data": "mnist"}}).json()
    fields = {field["name"]: field for group in found["groups"] for field in group["fields"]}
    assert found["why"][0].startswith(f"{found['system']} for this data")
    assert fields["width"]["reason"]
    assert fields["width"]["default"] == fields["width"]["value"]
    assert fields["fit"]["choices"] == ["auto", "crop", "pad", "stretch"]


def test_a_clone_has_the_values_of_its_run(opened: Studio) -> None:
    found = opened.client.post("/api/form", json={"system": "auto", "data": {}, "like": "seed-1"}).json()
    fields = {field["name"]: field["value"] for group in found["groups"] for field in group["fields"]}
    assert found["name"] == "seed-1-2"
    assert (fields["seed"], fields["width"], fields["steps"]) == (1, 4, 4)


def test_jobs_are_limited(opened: Studio) -> None:
    names = ["job-1", "job-2", "job-3"]
    try:
        answers = [
            opened.client.post(
                f"/api/runs/{name}/start", json={"words": ["dcgan", "--data", "images", *WORDS]}
            )
            for name in names
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "--jobs 3" in answers[-1].json()["error"]
    finally:
        for name in names[:2]:
            opened.client.post(f"/api/runs/{name}/stop")
        wait_for(
            lambda: not any(job["working"] for job in opened.client.get("/api/runs").json()["jobs"].values())
        )
        for name in names[:2]:
            shutil.rmtree(opened.runs / name, ignore_errors=True)


def test_a_training_from_a_terminal_can_be_stopped(opened: Studio, place: Path) -> None:
    process = start("train", "dcgan", "--data", "images", *WORDS, "--run", "runs/by-hand", cwd=place)
    with process:
        wait_for(lambda: row(opened, "by-hand").get("step", 0) > 0)
        assert opened.client.post("/api/runs/by-hand/stop").status_code == 200
        assert process.wait(60) == 143
    assert row(opened, "by-hand")["state"] == "stopped"
    shutil.rmtree(opened.runs / "by-hand")


def test_a_training_outlives_the_studio(place: Path) -> None:
    runs = place / "runs"
    with studio(runs, cwd=place) as first:
        answer = first.client.post(
            "/api/runs/survivor/start", json={"words": ["dcgan", "--data", "images", *WORDS]}
        )
        assert answer.status_code == 200
        wait_for(lambda: row(first, "survivor").get("step", 0) > 0)
        first.process.kill()
    with studio(runs, cwd=place) as second:
        assert row(second, "survivor")["state"] == "running"
        assert second.client.post("/api/runs/survivor/stop").status_code == 200
        wait_for(lambda: row(second, "survivor")["state"] == "stopped")
    shutil.rmtree(runs / "survivor")


def test_a_failing_start_says_why(opened: Studio) -> None:
    words = ["dcgan", "--data", "images", "--width", "-3"]
    opened.client.post("/api/runs/wrong/start", json={"words": words})
    error = wait_for(lambda: opened.client.get("/api/runs").json()["jobs"]["wrong"]["error"])
    assert error.startswith("--width")
    assert not (opened.runs / "wrong").exists()


@pytest.mark.slow
def test_a_session_in_the_browser(chromium: Any, place: Path, tmp_path: Path) -> None:
    """Start, watch samples arrive, leave, come back, stop, resume, compare, delete and undo."""
    runs = shutil.copytree(place / "runs", tmp_path / "runs")
    with studio(runs, cwd=place) as own:
        with page_of(chromium) as page:
            page.goto(own.link("#/new"))
            page.get_by_label("Data", exact=True).fill("images")
            page.get_by_label("System").select_option("dcgan")
            page.get_by_role("button", name="Check the data").click()
            page.get_by_role("button", name="Start training").wait_for()
            page.get_by_label("Name of the run").fill("mine")
            for label, value in {"steps": "100000", "batch": "4", "width": "4"}.items():
                page.get_by_label(label, exact=True).fill(value)
            page.get_by_text("More options: training").click()
            for label, value in {"sample every": "50", "log every": "10", "checkpoint every": "50"}.items():
                page.get_by_label(label, exact=True).fill(value)
            assert "--steps 100000" in page.locator(".command code").inner_text()
            page.get_by_role("button", name="Start training").click()
            page.wait_for_url("**/#/run/mine")
            page.get_by_alt_text(re.compile("Samples at step [1-9]")).wait_for()
        wait_for(lambda: row(own, "mine")["step"] > 100)  # nobody looks, it goes on
        with page_of(chromium) as page:
            page.goto(own.link("#/run/mine"))
            page.locator("main .badge.running").wait_for()
            page.get_by_role("button", name="Stop", exact=True).click()
            page.locator("main .badge.stopped").wait_for()
            stopped = ganforge.load(runs / "mine").step
            page.get_by_role("button", name="Resume").click()
            page.locator("main .badge.running").wait_for()
            wait_for(lambda: row(own, "mine")["step"] > stopped)
            page.get_by_role("button", name="Stop", exact=True).click()
            page.locator("main .badge.stopped").wait_for()
            wait_for(lambda: not is_held(runs / "mine"))

            page.goto(f"{own.address}/#/runs")
            page.get_by_label("Compare seed-0").check()
            page.get_by_label("Compare seed-1").check()
            page.get_by_role("button", name="Compare 2").click()
            page.get_by_role("heading", name="Compare 2 runs").wait_for()
            assert page.locator("figure.chart").count() > 2

            page.goto(f"{own.address}/#/runs")
            page.get_by_label("Filter runs").fill("seed-0")
            page.get_by_role("button", name="Delete").click()
            page.get_by_text("seed-0 is in the trash.").wait_for()
            wait_for(lambda: not (runs / "seed-0").exists())
            page.get_by_role("button", name="Undo").click()
            wait_for(lambda: (runs / "seed-0/config.json").exists())
    assert state_of(Run.open(runs / "mine")).condition == "stopped"


def test_the_studio_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words, text in (
        (["--runs", "file/runs"], "--runs"),
        (["--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["--port", "99999"], "--port 99999"),
        (["--token", "a", "--no-token"], "leave one of them out"),
    ):
        done = run("studio", *words, cwd=tmp_path)
        assert done.returncode == 2
        assert text in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_logs_of_long_runs_are_read_once(opened: Studio, tmp_path: Path) -> None:
    """A list of many runs, and a run with a long log and many grids, open within a second."""
    source = opened.runs / "seed-0"
    runs = tmp_path / "runs"
    for index in range(300):
        shutil.copytree(source, runs / f"run-{index:03}", ignore=shutil.ignore_patterns("checkpoints"))
    long = runs / "run-000"
    line = next(each for each in map(json.loads, (long / "metrics.jsonl").read_text().splitlines())
                if each["kind"] == "train")  # fmt: skip
    with open(long / "metrics.jsonl", "a") as file:
        for step in range(5, 10_005):
            file.write(json.dumps(line | {"step": step}) + "\n")
    for step in range(5, 505):
        shutil.copy(source / "samples/000004.png", long / f"samples/{step:06}.png")
    with studio(runs) as own:
        own.client.get("/api/systems")
        begun = time.perf_counter()
        assert len(own.client.get("/api/runs").json()["runs"]) == 300
        listed = time.perf_counter() - begun
        begun = time.perf_counter()
        assert len(own.client.get("/api/runs/run-000").json()["grids"]) > 500
        opened_in = time.perf_counter() - begun
    print(f"listed in {listed:.2f} s, opened in {opened_in:.2f} s")
    assert listed < 3, (
        opened_in < 3
    )  # asked: 1 s each on an idle machine, which benchmarks/studio.py measures
