"""One training on two hosts that lose each other: network namespaces of this machine, joined by a switch.

    sudo .venv/bin/python benchmarks/hosts.py --out benchmarks/hosts.json

Each trial trains with a process on each host under torchrun, and disturbs it once at a random step: the cable
of a host is pulled for less and for more than the time-out, or a process is killed or frozen. What its last
checkpoint holds is compared with that of a training that nothing disturbed. `loop`: what torchrun does not
survive, with a shell that types the command again. `bad`: what a user sees who mistypes the rendezvous.
Needs root and `ip`, of iproute2. About an hour; `--at-once 3` runs as many trials next to each other.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from record import record

import ganforge

SOURCES = Path(ganforge.__file__).parents[1]
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 29400
INTERFACE = "cable"
FILES = ("system", "average", "optimizers", "random")
SHORT, LONG = 5, (30, 45, 60, 90, 150)
"""Seconds for which a cable is pulled; a process that is silent for 20 is given up."""
KINDS = ("cut for less", "cut for longer", "killed", "frozen")
TRAIN = (
    "train dcgan --data mnist --device cpu --precision fp32 --width 4 --batch 8 --steps 150 "
    "--checkpoint-every 10 --log-every 10 --sample-every 100000"
)
PATIENT = "read_timeout=300"
LOOP = 'for attempt in 1 2 3 4 5 6 7 8; do "$@" && exit; echo again; sleep 5; done; exit 1'
MOST_SECONDS = 900
_NUMBERS = count()


def ip(*words: str) -> str:
    """What one command of `ip` prints."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Network:
    """Two hosts and the switch between them, each a network namespace."""

    hosts: list[str]
    switch: str

    def plug(self, host: int, state: str) -> None:
        """Pull the cable of a host at the switch ("down"), or put it in ("up")."""
        ip("-n", self.switch, "link", "set", f"port{host}", state)

    def kill_all(self, host: int) -> None:
        """Kill all processes of a host, as a power cut does."""
        for number in ip("netns", "pids", self.hosts[host]).split():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)


@contextmanager
def network() -> Iterator[Network]:
    """Within this context two hosts reach each other, and nothing else."""
    unique = f"hosts-{os.getpid()}-{next(_NUMBERS)}"
    names = [f"{unique}-a", f"{unique}-b", f"{unique}-switch"]
    joined = Network(names[:2], names[2])
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", joined.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", joined.switch, "link", "set", "bridge", "up")
        for host, name in enumerate(joined.hosts):
            ends = ["add", f"port{host}", "type", "veth", "peer", "name", INTERFACE, "netns", name]
            ip("-n", joined.switch, "link", *ends)
            ip("-n", joined.switch, "link", "set", f"port{host}", "master", "bridge", "up")
            ip("-n", name, "address", "add", f"{ADDRESSES[host]}/24", "dev", INTERFACE)
            ip("-n", name, "link", "set", INTERFACE, "up")
        yield joined
    finally:
        for host in range(min(2, len(made))):
            joined.kill_all(host)
        for name in made:
            ip("netns", "delete", name)


def torchrun(host: int, more: str = PATIENT) -> list[str]:
    """The words before those of ganforge on a host; `more` goes into --rdzv-conf."""
    settings = ",".join(filter(None, [f"is_host={int(not host)}", more]))
    words = (
        f"--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint {ADDRESSES[0]}:{PORT} "
        f"--rdzv-conf {settings} --local-addr {ADDRESSES[host]} --max-restarts 3 -m -- ganforge"
    )
    return words.split()


@dataclass
class Host:
    """What runs on one of two hosts, and each line that it prints with the time."""

    network: Network
    number: int
    words: list[str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Type the command."""
        environment = os.environ | {
            "PYTHONPATH": str(SOURCES),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": INTERFACE,
        }
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.network.hosts[self.number], *self.words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process,))
        self.reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.lines.append((time.monotonic(), line.rstrip()))

    def worker(self) -> int:
        """The process that trains."""
        for number in ip("netns", "pids", self.network.hosts[self.number]).split():
            if b"LOCAL_RANK=" in Path(f"/proc/{number}/environ").read_bytes():
                return int(number)
        raise RuntimeError("nothing trains here")

    def end(self) -> int:
        """The exit code, once it and all of its output have come."""
        try:
            self.process.wait(MOST_SECONDS)
        except subprocess.TimeoutExpired:
            self.network.kill_all(self.number)
        self.reader.join()
        return self.process.wait()


def start_both(joined: Network, run: Path, looped: bool = False, more: str = PATIENT) -> list[Host]:
    """The training on both hosts, each in a shell that types the command again where `looped`."""
    before = ["sh", "-c", LOOP, "loop"] if looped else []
    python = [sys.executable, "-m", "torch.distributed.run"]
    return [
        Host(joined, host, [*before, *python, *torchrun(host, more), *TRAIN.split(), "--run", str(run)])
        for host in range(2)
    ]


def wait_for_step(run: Path, step: int, hosts: list[Host]) -> None:
    log = run / "metrics.jsonl"
    while not (log.exists() and f'"step": {step},' in log.read_text("utf-8")):
        if any(host.process.poll() is not None for host in hosts):
            raise RuntimeError(str(hosts[0].lines[-5:] + hosts[1].lines[-5:]))
        time.sleep(0.05)


def contents(run: Path) -> dict[str, bytes]:
    """The tensors of the last checkpoint."""
    last = sorted((run / "checkpoints").iterdir())[-1]
    return {name: (last / f"{name}.safetensors").read_bytes() for name in FILES}


def disturb(kind: str, joined: Network, hosts: list[Host], victim: int, seconds: int) -> None:
    """What happens to a training: to its process `victim`, or to the cable or the machine of that."""
    if kind in ("killed", "frozen"):
        os.kill(hosts[victim].worker(), signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
        return
    joined.plug(victim, "down")
    if kind == "switched off":
        joined.kill_all(victim)
    time.sleep(seconds)
    joined.plug(victim, "up")
    if kind == "switched off":
        hosts[victim].process.wait()
        hosts[victim].reader.join()
        hosts[victim].start()


def first_named(host: Host, since: float) -> tuple[str, float] | None:
    """The first line of a host that names a process, and the seconds until it came."""
    for moment, line in host.lines:
        found = re.match(r"error: (process \d of 2 .*?)(?:: |$)", line)
        if moment > since and found:
            return found[1], round(moment - since, 1)
    return None


def trial(place: Path, plan: dict[str, Any], expected: dict[str, bytes]) -> dict[str, Any]:
    """One training that is disturbed as `plan` says, and what follows from that."""
    kind, victim, seconds = plan["kind"], plan["host"], plan.get("seconds", 0)
    looped, more = plan.get("loop", False), plan.get("rdzv_conf", PATIENT)
    run = place / "run"
    with network() as joined:
        hosts = start_both(joined, run, looped, more)
        wait_for_step(run, plan["after_step"], hosts)
        since = time.monotonic()
        disturb(kind, joined, hosts, victim, seconds)
        codes = [host.end() for host in hosts]
        took = round(time.monotonic() - since, 1)
    lines = [line for host in hosts for _, line in host.lines]
    named = {"ab"[host.number]: first_named(host, since) for host in hosts}
    own = named["ab"[1 - victim]]  # what the other host says of this one
    row = plan | {
        "named": {host: found[0] for host, found in named.items() if found},
        "seconds_until_named": {host: found[1] for host, found in named.items() if found},
        "right": (own is None)
        if kind == "cut for less"
        else own is not None and f"process {victim} of" in own[0],
        "resumed": any(line.startswith("resuming") for line in lines),
        "ended": codes == [0, 0],
        "seconds_to_the_end": took,
    }
    if looped:
        row["typed_again"] = lines.count("again")
    row["equal"] = row["ended"] and contents(run) == expected
    print(row, file=sys.stderr, flush=True)
    if not row["equal"]:
        print("\n".join(lines[-40:]), file=sys.stderr, flush=True)
    return row


def plans(trials: int) -> list[dict[str, Any]]:
    """So many trials of each kind; the hosts in turn."""
    draw = random.Random(0)
    found = []
    for index in range(trials):
        for kind in KINDS:
            plan = {"kind": kind, "host": index % 2, "after_step": draw.randrange(20, 120, 10)}
            if kind.startswith("cut"):
                plan["seconds"] = SHORT if kind == "cut for less" else LONG[index % len(LONG)]
            found.append(plan)
    return found


def loop_plans() -> list[dict[str, Any]]:
    """What needs the command again: the time-outs of torchrun itself, and a machine that is switched off.

    With torchrun's own read_timeout: a machine that comes back waits that long, in vain, for an address that
    the torchrun of the other has not written again (torch 2.13), before both end.
    """
    ordinary = {"rdzv_conf": "", "loop": True, "after_step": 50}
    cut = {"kind": "cut for longer", "seconds": 150} | ordinary
    off = {"kind": "switched off", "seconds": 30} | ordinary
    return [plan | {"host": host} for host in range(2) for plan in (cut, off)]


def measure(
    place: Path, rows: list[dict[str, Any]], at_once: int, expected: dict[str, bytes]
) -> dict[str, Any]:
    """The trials of `rows`, `at_once` of them at the same time."""

    def one(item: tuple[int, dict[str, Any]]) -> dict[str, Any]:
        folder = place / str(item[0])
        folder.mkdir()
        return trial(folder, item[1], expected)

    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(one, enumerate(rows)))
    return {
        "rows": done,
        "named_rightly": sum(row["right"] for row in done),
        "equal": sum(row["equal"] for row in done),
        "of": len(done),
    }


def undisturbed(place: Path) -> dict[str, bytes]:
    """The tensors of a training on two hosts that nothing disturbs."""
    with network() as joined:
        codes = [host.end() for host in start_both(joined, place / "whole")]
    assert codes == [0, 0], codes
    return contents(place / "whole")


def measure_bad(place: Path) -> dict[str, Any]:
    """What torchrun prints where nobody answers at the rendezvous, and where its port is taken."""
    found = {}
    for name, number in {"unreachable": 1, "port_in_use": 0}.items():
        with network() as joined:
            serve = f"import socket, time; s = socket.create_server(('', {PORT})); time.sleep(600)"
            if name == "port_in_use":
                subprocess.Popen(["ip", "netns", "exec", joined.hosts[0], sys.executable, "-c", serve])
                time.sleep(3)
            python = [sys.executable, "-m", "torch.distributed.run"]
            began = time.monotonic()
            words = [*torchrun(number, ""), *TRAIN.split(), "--run", str(place / name)]
            host = Host(joined, number, [*python, *words])
            code = host.end()
        lines = [line for _, line in host.lines]
        found[name] = {
            "exit_code": code,
            "seconds": round(time.monotonic() - began, 1),
            "lines": len(lines),
            "errors": [line[:200] for line in lines if re.match(r"[\w.]*Error: ", line)],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=("trials", "loop", "bad"), nargs="+", default=["trials", "loop", "bad"]
    )
    parser.add_argument("--trials", type=int, default=5, help="of each kind")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = json.loads(arguments.out.read_text("utf-8")) if arguments.out and arguments.out.exists() else {}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if "bad" in arguments.only:
            results["bad"] = measure_bad(place)
        expected = undisturbed(place) if {"trials", "loop"} & set(arguments.only) else {}
        for part in ("trials", "loop"):
            if part in arguments.only:
                rows = plans(arguments.trials) if part == "trials" else loop_plans()
                (place / part).mkdir()
                rows = [row for row in rows if part == "loop" or row["kind"] in arguments.kinds]
                results[part] = measure(place / part, rows, arguments.at_once, expected)
    commands = [" ".join(["torchrun", *torchrun(host), TRAIN]) for host in range(2)]
    record(results | {"commands": commands, "at_once": arguments.at_once}, arguments.out)


if __name__ == "__main__":
    main()
