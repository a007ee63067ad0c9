"""Load on `ganforge serve` over loopback: with and without micro-batching, fuzzed, killed clients, memory.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/serve.py --out benchmarks/serve.json

trains the models for a few steps (what they draw does not matter), starts the real server in a process of its
own for each part, and takes about twelve minutes. Clients are plain sockets in this process: a client library
would cost more than the server.
"""

import argparse
import asyncio
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlencode

from PIL import Image
from record import record

import ganforge

CLIENTS, SECONDS, ROUNDS = 50, 60.0, 2
TOKEN = "benchmark"
TRAININGS: dict[str, dict[str, Any]] = {
    "lsgan": {"data": "mnist"},
    "dcgan": {"data": "mnist"},
    "cgan": {"data": "mnist"},
    "infogan": {"data": "mnist"},
    "pixelcnn": {"data": "mnist", "width": 8, "layers": 2, "conditional": True},
}
LOADED = ("lsgan", "dcgan", "infogan")
SOURCES = Path(ganforge.__file__).parents[1]


def train_all(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        options = dict(TRAININGS[name])
        ganforge.train(
            name, options.pop("data"), run=folder / name, steps=2, quiet=True, device="cpu", **options
        )


@contextmanager
def server(folder: Path, runs: tuple[str, ...], *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of `runs` and its port; it must drain and end by 0."""
    program = [sys.executable, "-m", "ganforge", "serve", *runs, "--port", "0", "--token", TOKEN, *options]
    with open(folder / "log.jsonl", "w", encoding="utf-8") as log:
        environment = os.environ | {"PYTHONPATH": str(SOURCES)}
        process = subprocess.Popen(
            program, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            yield process, int(line.split()[0].rpartition(":")[2])
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()


def request_bytes(path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("latin-1") + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def client(
    port: int, model: str, number: int, until: float, seconds: list[float], bad: list[int]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seed = number * 1_000_000
    while time.monotonic() < until:
        body = json.dumps({"count": 1, "seed": seed}).encode()
        seed += 1
        began = time.monotonic()
        writer.write(request_bytes(f"/v1/models/{model}/generate", body))
        status, _ = await answer(reader)
        seconds.append(time.monotonic() - began)
        if status != 200:
            bad.append(status)
    writer.close()


async def load(port: int, model: str, duration: float, pid: int) -> dict[str, Any]:
    """All clients for `duration` seconds after a warm-up; growth of memory from a third of it to its end."""
    await asyncio.gather(*(client(port, model, n, time.monotonic() + 3, [], []) for n in range(CLIENTS)))
    seconds, bad, sizes = list[float](), list[int](), list[float]()
    began = time.monotonic()

    async def watch() -> None:
        for share in (1 / 3, 2 / 3):
            await asyncio.sleep(began + share * duration - time.monotonic())
            sizes.append(resident_mb(pid))

    clients = (client(port, model, n, began + duration, seconds, bad) for n in range(CLIENTS))
    await asyncio.gather(watch(), *clients)
    whole = time.monotonic() - began
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "images_per_second": round(len(seconds) / whole, 1),
        "p50_ms": round(1000 * cuts[49], 1),
        "p95_ms": round(1000 * cuts[94], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "requests": len(seconds),
        "errors": len(bad),
        "memory_growth_mb": round(resident_mb(pid) - sizes[0], 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def batching(folder: Path, model: str, duration: float, rounds: int) -> dict[str, Any]:
    """With micro-batching (A) and without (B), in turn A B A B."""
    found: dict[str, list[dict[str, Any]]] = {"with": [], "without": []}
    for _ in range(rounds):
        for kind, most in (("with", "64"), ("without", "1")):
            with server(folder, (model,), "--max-batch", most) as (process, port):
                found[kind].append(asyncio.run(load(port, model, duration, process.pid)))
                print(model, kind, found[kind][-1], flush=True)
    mean = {
        kind: statistics.mean(part["images_per_second"] for part in parts) for kind, parts in found.items()
    }
    return found | {"times_more_images": round(mean["with"] / mean["without"], 2)}


async def send(port: int, path: str, body: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes(path, body))
    try:
        return await asyncio.wait_for(answer(reader), 60)
    finally:
        writer.close()


async def value_of(port: int, name: str) -> float:
    """A metric of the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(head.encode())
    _, body = await answer(reader)
    writer.close()
    lines = [line for line in body.decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[-1]) if lines else 0.0


async def killed(port: int, count: int) -> dict[str, Any]:
    """Clients that ask for as much as is allowed and close at once, in waves as large as the queue."""
    held = 'ganforge_in_progress{model="pixelcnn"}'
    body, most, began = json.dumps({"count": 8}).encode(), 0.0, time.monotonic()
    for _ in range(count // CLIENTS):
        writers = []
        for _ in range(CLIENTS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_bytes("/v1/models/pixelcnn/generate", body))
            await writer.drain()
            writers.append(writer)
        while (held_now := await value_of(port, held)) == 0:
            await asyncio.sleep(0.01)
        most = max(most, held_now)
        for writer in writers:
            writer.transport.abort()
        while await value_of(port, held) > 1:  # what has begun is finished
            await asyncio.sleep(0.01)
    while await value_of(port, held) > 0:
        await asyncio.sleep(0.01)
    status, _ = await send(port, "/v1/models/pixelcnn/generate", b'{"seed": 1}')
    return {
        "clients": count,
        "most_in_progress": most,
        "in_progress_after": await value_of(port, held),
        "next_status": status,
        "seconds": round(time.monotonic() - began, 1),
    }


async def jobs(port: int, pid: int, count: int) -> dict[str, Any]:
    """Requests of all kinds, one after another; the slope of memory after the first fifth."""
    upload, sizes = image_bytes(), list[tuple[int, float]]()
    kinds: list[tuple[str, bytes]] = [
        ("cgan/generate", b'{"count": 4}'),
        ("cgan/interpolate?", b'{"seeds": [1, 2, 3]}'),
        ("infogan/generate", b'{"count": 2, "codes": {"0": 4}, "format": "npz"}'),
        ("dcgan/arithmetic", b'{"expression": "1,2,3 - 4,5 + 6", "format": "json"}'),
        ("dcgan/project?steps=2", upload),
        ("dcgan/generate", b'{"count": 3, "format": "webp"}'),
        ("dcgan/generate", b'{"count": 0}'),
    ]
    bad = 0
    for index in range(count):
        path, body = kinds[index % len(kinds)]
        status, _ = await send(port, f"/v1/models/{path}", body)
        bad += status != (422 if body == b'{"count": 0}' else 200)
        if index >= count // 5 and index % 10 == 0:
            sizes.append((index, resident_mb(pid)))
    slope = statistics.linear_regression(*zip(*sizes, strict=True)).slope
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {
        "jobs": count,
        "unexpected": bad,
        "mb_per_1000_jobs": round(1_000 * slope, 2),
        "open_files": files,
    }


def image_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((28, 28), 80).save(buffer, "PNG")
    return buffer.getvalue()


VALUES: list[Any] = [
    0, 1, 2, -1, 3, 250, 251, 2**63, 2**64, 0.7, -1e308, 1e-9, True, None, "", "7", "1,2 - 3", "a red apple",
    "\u0000", "\ud800", "../../etc/passwd", "a" * 600, [], [1, 2], [1, "x"], ["a"], [[1]], {}, {"0": 1},
    {"0": 4, "1": 0.5}, {"x": 1}, "png", "webp", "json", "npz", "numbers", "NaN",
]  # fmt: skip
PLAUSIBLE: dict[str, list[Any]] = {
    "format": ["png", "webp", "json", "npz", "numbers"], "seed": [0, 7, 2**64 - 1], "count": [1, 3, 16],
    "labels": [[3], [1, "2"]], "codes": [{"0": 4}, {"1": 0.5}], "truncation": [0.5, 2], "frames": [2, 9],
    "seeds": [[1, 2], [1, 2, 3]], "texts": [["a cat"], ["a", "b"]], "rate": [24], "closed": [True],
    "expression": ["1,2 - 3 + 4", "1 - 2", "0.5*7"], "label": [3, "4"], "text": ["a"], "noise": [0, 1],
    "rows": [9], "pixels_only": [True], "restarts": [1], "size": ["own", "training"],
    "lines": ["thin", "edges", "keep"],
}  # fmt: skip
NEEDED = {"interpolate": "seeds", "arithmetic": "expression", "text": "texts"}


def fuzzed(
    random: Random, fields: dict[str, tuple[list[str], bool]], upload: bytes
) -> tuple[str, bytes, str]:
    """A request of which each part may be odd: path, query, body and type."""
    place = random.choice([*fields, *fields, *fields, "dcgan/nothing", "../etc/generate", "nobody/generate"])
    names, takes_image = fields.get(place, (["count"], False))
    odd = random.choice([0, 0.1, 0.5])
    picked = set(random.sample(names, random.randint(0, min(3, len(names)))))
    picked |= {name for kind, name in NEEDED.items() if place.endswith(kind) and random.random() < 0.9}
    chosen = {
        name: random.choice(VALUES if random.random() < odd else PLAUSIBLE.get(name, VALUES))
        for name in sorted(picked)
    }
    chosen.pop("steps", None)  # valid ones take long
    if random.random() < 0.1:
        chosen[random.choice(["unknown", "__class__", "path"])] = random.choice(VALUES)
    path, body = f"/v1/models/{place}", json.dumps(chosen).encode()
    if takes_image:
        query = {"steps": 0} | chosen if "project" in place else chosen
        path += "?" + urlencode(
            {name: str(value).encode("utf-8", "replace") for name, value in query.items()}
        )
        damaged = bytearray(upload)
        for _ in range(random.choice([0, 0, 1, 5])):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        body = bytes(damaged[: random.choice([None, None, 0, 8, 40])])
    elif random.random() < 0.2:
        body = random.choice([b"", b"{", b"[" * 3_000, b"null", b"\xff" * 9, b"{}" * 2, random.randbytes(50)])
    return (
        path,
        body,
        random.choice(["application/json", "image/png", "text/plain", "multipart/form-data", "x"]),
    )


async def fuzz(port: int, count: int) -> dict[str, Any]:
    """`count` requests from a fixed seed; counts of statuses, and those that no answer should have."""
    random, upload = Random(0), image_bytes()
    shared = ["format", "seed"]
    options = {
        "generate": (["count", "labels", "codes", "truncation"], False),
        "interpolate": (["seeds", "texts", "labels", "frames", "closed", "rate", "truncation"], False),
        "arithmetic": (["expression", "label", "text", "noise", "truncation"], False),
        "project": (["steps", "restarts", "pixels_only", "label", "text"], True),
        "text": (["texts", "count"], False),
        "apply": (["size", "lines"], True),
        "complete": (["rows", "count", "label"], True),
    }
    able = {
        "dcgan": ("generate", "interpolate", "arithmetic", "project"),
        "infogan": ("generate", "interpolate", "arithmetic", "project"),
        "cgan": ("generate", "interpolate", "arithmetic", "project"),
        "gan-cls-emoji": ("text", "interpolate", "arithmetic"),
        "pix2pix-edges2emoji": ("apply",),
    }
    fields = {
        f"{model}/{name}": (shared + options[name][0], options[name][1])
        for model, names in able.items()
        for name in names
    }
    statuses: Counter[int] = Counter()
    remaining = count

    async def one_client() -> None:
        nonlocal remaining
        while remaining > 0:
            remaining -= 1
            path, body, kind = fuzzed(random, fields, upload)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request_bytes(path, body, kind))
            status, content = await asyncio.wait_for(answer(reader), 120)
            statuses[status] += 1
            if status >= 500:
                print(status, path, body[:200], content[:300], flush=True)
            writer.close()

    await asyncio.gather(*(one_client() for _ in range(8)))
    errors = sum(number for status, number in statuses.items() if status >= 500)
    return {"requests": count, "server_errors": errors, "statuses": dict(sorted(statuses.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Of each measurement of the load.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="Pairs of measurements, with and without.")
    parser.add_argument("--fuzzed", type=int, default=10_000, help="Fuzzed requests.")
    parser.add_argument(
        "--load-only", action="store_true", help="Measure the load; keep what --out has else."
    )
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_all(folder, tuple(TRAININGS))
        result: dict[str, Any] = {
            "command": "OMP_NUM_THREADS=1 python benchmarks/serve.py " + " ".join(sys.argv[1:]),
            "clients": CLIENTS,
            "seconds": chosen.seconds,
        }
        if chosen.load_only:
            before = json.loads(chosen.out.read_text(encoding="utf-8"))
            result = before | result | {"other_parts": f"{before['machine']}, {before['date']}"}
            result["load"] = {
                model: batching(folder, model, chosen.seconds, chosen.rounds) for model in LOADED
            }
            record(result, chosen.out)
            return
        with server(folder, ("pixelcnn",)) as (_, port):
            result["killed_clients"] = asyncio.run(killed(port, 4 * CLIENTS))
            print(result["killed_clients"], flush=True)
        with server(folder, ("dcgan", "cgan", "infogan")) as (process, port):
            result["jobs"] = asyncio.run(jobs(port, process.pid, 1_000))
            print(result["jobs"], flush=True)
        runs = ("dcgan", "cgan", "infogan", "pretrained:gan-cls-emoji", "pretrained:pix2pix-edges2emoji")
        with server(folder, runs) as (_, port):
            result["fuzz"] = asyncio.run(fuzz(port, chosen.fuzzed))
            print(result["fuzz"], flush=True)
        result["load"] = {model: batching(folder, model, chosen.seconds, chosen.rounds) for model in LOADED}
        record(result, chosen.out)


if __name__ == "__main__":
    main()
