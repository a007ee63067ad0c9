"""`ganforge serve` as a process: threads of clients, drains, clients that are killed, and its log."""

import io
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from command import environment
from documents import ROOT
from PIL import Image
from serving import TOKEN, Serving, serving

from ganforge.cli.main import main
from ganforge.export.package import write_shipped
from ganforge.files.provenance import read_provenance
from ganforge.generation.output import to_arrays
from ganforge.runs.pretrained import FOLDER
from ganforge.runs.trained import load
from ganforge.server.serve import SECONDS_TO_TAKE

pytestmark = pytest.mark.slow  # processes that import torch
NUM_THREADS, NUM_REQUESTS = 16, 96
MOST_LEVELS = 1
"""Of 255, by which a sample may differ where it was decoded with others: floats differ by about 1e-6."""


@pytest.fixture(scope="module")
def served(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    log = tmp_path_factory.mktemp("log") / "log.jsonl"
    with serving(runs / "dcgan", runs / "cgan", runs / "pixelcnn", "--queue", 32, log=log) as server:
        yield server


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def connect(server: Serving, path: str, body: bytes, receive_bytes: int | None = None) -> socket.socket:
    """A connection that has sent a request, and reads nothing."""
    host, port = server.address.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect((host, int(port)))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.token}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def test_sixteen_threads_get_what_one_call_after_another_draws(served: Serving, runs: Path) -> None:
    """Of two models, of which the one is conditional, whatever was decoded together."""
    trained = {name: load(runs / name, "cpu") for name in ("dcgan", "cgan")}
    jobs = [(("dcgan", "cgan")[seed % 2], 1 + seed % 3, seed) for seed in range(NUM_REQUESTS)]

    def ask(job: tuple[str, int, int]) -> np.ndarray:
        name, count, seed = job
        body = {"count": count, "seed": seed, "format": "npz"} | ({"labels": [3]} if name == "cgan" else {})
        answer = served.client.post(f"/v1/models/{name}/generate", json=body)
        assert answer.status_code == 200, answer.text
        with np.load(io.BytesIO(answer.content)) as arrays:
            return arrays["images"]

    before = [served.metric(f'ganforge_batch_requests_{kind}{{model="dcgan"}}') for kind in ("sum", "count")]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        drawn = list(pool.map(ask, jobs))
    after = [served.metric(f'ganforge_batch_requests_{kind}{{model="dcgan"}}') for kind in ("sum", "count")]
    requests, batches = (new - old for new, old in zip(after, before, strict=True))
    assert requests == NUM_REQUESTS / 2
    assert batches < requests, "some were decoded together"
    largest = 0
    for (name, count, seed), images in zip(jobs, drawn, strict=True):
        labels = [3] if name == "cgan" else None
        expected = to_arrays(trained[name].sample(count, seed=seed, labels=labels)).astype(int)
        largest = max(largest, int(np.abs(images.astype(int) - expected).max()))
    assert largest <= MOST_LEVELS


def test_killed_clients_free_their_places(served: Serving) -> None:
    """Sixteen whose connections are cut while they wait for a slow model."""
    held = 'ganforge_in_progress{model="pixelcnn"}'
    path = "/v1/models/pixelcnn/generate"
    connections = [connect(served, path, b'{"count": 100}') for _ in range(NUM_THREADS)]
    eventually(lambda: served.metric(held) == NUM_THREADS)
    for connection in connections:
        connection.close()
    eventually(lambda: served.metric(held) <= 1)  # what has begun is finished
    assert served.client.post("/v1/models/pixelcnn/generate", json={}).status_code == 200
    eventually(lambda: served.metric(held) == 0)  # an answer is sent before its place is free


def test_the_example_of_a_client(served: Serving, tmp_path: Path) -> None:
    def client(address: str, token: str | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "examples" / "serve_client.py", address, "--count", "3"],
            cwd=tmp_path,
            env=environment(GANFORGE_TOKEN=token),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    for address, token, said in (
        (served.address, None, "401: "),
        ("http://127.0.0.1:9", TOKEN, "start `ganforge serve` there"),
        ("localhost", TOKEN, "or name its address"),
    ):
        failed = client(address, token)
        (line,) = failed.stderr.splitlines()
        assert (failed.returncode, said in line) == (1, True)
    done = client(served.address, TOKEN)
    assert done.stdout.splitlines() == ["dcgan can generate, interpolate, arithmetic, project", "samples.png"]
    assert read_provenance(tmp_path / "samples.png")["seed"] == "7"


def test_a_package_is_served_and_drained(runs: Path, tmp_path: Path) -> None:
    """By a token that is printed: what waits is answered, what comes then is refused, and it exits with 0."""
    write_shipped(load(runs / "pixelcnn", "cpu"), tmp_path / "shared", "shared")
    log, path = tmp_path / "log.jsonl", "/v1/models/shared/generate"
    with serving(tmp_path / "shared", log=log, token=None) as server, ThreadPoolExecutor(4) as pool:
        assert re.fullmatch(r"[\w-]{32}", server.token)
        assert server.client.post(path, json={}, headers={"Authorization": ""}).status_code == 401
        bodies = [{"count": 100, "seed": seed} for seed in range(4)]
        waiting = [pool.submit(server.client.post, path, json=body) for body in bodies]
        eventually(lambda: server.metric('ganforge_in_progress{model="shared"}') == 4)
        assert server.client.get("/health/ready").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.client.get("/health/ready").status_code == 503)
        late = server.client.post(path, json={})
        assert (late.status_code, late.headers["Retry-After"]) == (503, "5")
        assert [each.result().status_code for each in waiting] == [200] * 4
        assert server.process.wait(20) == 0
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [line["event"] for line in lines if line["event"] != "request"] == ["started", "signal", "stopped"]
    statuses = [line["status"] for line in lines if line.get("endpoint") == "generate"]
    assert sorted(statuses) == [200] * 4 + [401, 503]
    assert server.token not in log.read_text("utf-8")


@pytest.mark.parametrize("leaves", [False, True], ids=["second signal", "client that left"])
def test_it_ends_with_0_while_a_thread_works(runs: Path, tmp_path: Path, leaves: bool) -> None:
    held = 'ganforge_in_progress{model="pixelcnn"}'
    with ExitStack() as stack:
        server = stack.enter_context(serving(runs / "pixelcnn", log=tmp_path / "log.jsonl"))
        path = "/v1/models/pixelcnn/generate"
        waiting = [stack.enter_context(connect(server, path, b'{"count": 250}')) for _ in range(9)]
        eventually(lambda: server.metric(held) == 9)
        if leaves:
            for connection in waiting:
                connection.close()
            eventually(lambda: server.metric(held) == 0)
        else:
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.client.get("/health/ready").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0
    assert "terminate called" not in (tmp_path / "log.jsonl").read_text("utf-8")


def test_a_client_that_takes_no_answer_does_not_keep_it(tmp_path: Path) -> None:
    """One whose numbers, 800x800x3 of them, fit into no buffer of the network."""
    content = io.BytesIO()
    Image.new("RGB", (200, 200)).save(content, "PNG")
    path = "/v1/models/srgan-photos/apply?size=own&format=numbers"
    with (
        serving("pretrained:srgan-photos", log=tmp_path / "log.jsonl") as server,
        connect(server, path, content.getvalue(), receive_bytes=4096),
    ):
        done = 'ganforge_requests_total{endpoint="apply",status="200"}'
        eventually(lambda: server.metric(done) == 1, 60)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(2)
        assert server.process.wait(SECONDS_TO_TAKE + 10) == 0


def test_mistakes_are_one_line(runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def mistake(*words: object) -> str:
        assert main(["serve", *map(str, words)]) == 2
        captured = capfd.readouterr()
        assert captured.out == ""
        (line,) = captured.err.splitlines()
        return line

    assert "no run: name one or more" in mistake()
    assert "is not a run folder" in mistake(tmp_path)
    assert "--token and --no-token" in mistake(runs / "dcgan", "--no-token", "--token", "x")
    assert "printable ASCII" in mistake(runs / "dcgan", "--token", "")
    assert "two runs are called dcgan" in mistake(runs / "dcgan", runs / "dcgan")
    assert "expected 1 or more" in mistake(runs / "dcgan", "--queue", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "choose another port" in mistake(runs / "dcgan", "--port", other.getsockname()[1])
    assert "choose another port" in mistake(runs / "dcgan", "--port", 70_000)
    assert "--host is empty" in mistake(runs / "dcgan", "--host", "")
    for name in ("http://gans.example.org", "gans.example.org:8000", "", "*"):
        assert "expected a name without scheme and port" in mistake(runs / "dcgan", "--allow-host", name)
    assert "no pretrained run 'nothing'" in mistake("pretrained:nothing")
    shutil.copytree(runs / "dcgan", tmp_path / "a run")
    assert "name the folder by letters" in mistake(tmp_path / "a run")
    encoder = FOLDER / "gan-cls-emoji" / "text_encoder"
    assert "a run of text_encoder makes nothing that can be served" in mistake(encoder)
