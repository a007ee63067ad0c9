"""The jobs for clusters in examples/: they parse, and the command in each is one that ganforge accepts."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import draw_images, environment
from documents import ROOT, read, words_of
from torch.distributed.run import get_args_parser

from ganforge.cli import train
from ganforge.training import loop
from ganforge.training.plan import Plan

EXAMPLES = ROOT / "examples"
BATCH_JOBS = ("train.sbatch", "train_nodes.sbatch")
MACHINES = {
    "train_nodes.sbatch": {
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
    },
    "train.sky.yaml": {"SKYPILOT_NUM_GPUS_PER_NODE": "8"},
}
"""What the cluster sets."""


def documents_in(name: str) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(read(EXAMPLES / name)))


def command_in(name: str) -> list[str]:
    """The words of the command that trains, as the cluster would run it."""
    if name == "train.k8s.yaml":
        (job,) = (each for each in documents_in(name) if each["kind"] == "Job")
        return job["spec"]["template"]["spec"]["containers"][0]["command"]
    if name == "train.sky.yaml":
        return words_in(documents_in(name)[0]["run"])
    text = read(EXAMPLES / name)
    (typed,) = (line for line in text.splitlines() if "sbatch examples/" in line)
    words = words_in(text.replace('"$first:$((20000 + SLURM_JOB_ID % 10000))"', "localhost:20017"))
    assert words[-1] == "$@"
    return [*words[:-1], *shlex.split(typed.partition(f"examples/{name} ")[2])]


def words_in(script: str) -> list[str]:
    """Those of the last line of a shell script."""
    return words_of(script.replace("\\\n", " ").splitlines()[-1])[0]


def with_variables(name: str, words: list[str]) -> list[str]:
    known = MACHINES.get(name, {})
    return [known.get(word.strip("${}"), word) for word in words]


@pytest.mark.parametrize("name", BATCH_JOBS)
def test_batch_jobs_are_shell(name: str) -> None:
    subprocess.run(["bash", "-n", EXAMPLES / name], check=True)
    subprocess.run(["sh", "-n", EXAMPLES / name], check=True)


@pytest.mark.parametrize("name", [*BATCH_JOBS, "train.sky.yaml", "train.k8s.yaml"])
def test_the_command_is_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the real parsers of torchrun and of ganforge, up to the first step."""
    words = with_variables(name, command_in(name))
    processes = 1
    if "torchrun" in words:
        options = get_args_parser().parse_args(words[words.index("torchrun") + 1 :])
        assert options.module
        assert options.training_script == "ganforge"
        processes = int(options.nproc_per_node) * int(options.nnodes.partition(":")[0])
        words = ["ganforge", *options.training_script_args]
    words = words[words.index("ganforge") + 1 :]
    assert words[0] == "train"

    draw_images(tmp_path / "images")
    own = {"/images": "images", "/data/images": "images"}
    words = [
        option + separator + own.get(value, value) if separator else own.get(word, word)
        for word in words[1:]
        for option, separator, value in [word.partition("=")]
    ]
    plans: list[Plan] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "train", lambda plan, **_: plans.append(plan))
    assert train.train(words) == 0
    (plan,) = plans
    assert plan.path.as_posix().endswith("runs/dcgan")
    assert plan.config.config["batch"] % processes == 0
    assert processes == {"train.sbatch": 1, "train.sky.yaml": 8}.get(name, 16)


def test_jobs_of_kubernetes_name_each_other() -> None:
    claim, service, job = documents_in("train.k8s.yaml")
    name, spec = job["metadata"]["name"], job["spec"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert spec["completions"] == spec["parallelism"] == 2
    pod = spec["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    assert f"--nnodes={spec['parallelism']}" in container["command"]
    assert f"--rdzv-endpoint={name}-0.{pod['subdomain']}:29400" in container["command"]
    assert f"--nproc-per-node={container['resources']['limits']['nvidia.com/gpu']}" in container["command"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}


def cluster_of_one(folder: Path) -> dict[str, str]:
    """An environment in which Slurm's programs are scripts: two processes on this machine."""
    programs = {
        "scontrol": '[ "$1" = show ] && echo localhost && exit\necho "$@" >> queue',
        "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    }
    (folder / "bin").mkdir()
    for name, body in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    own = MACHINES["train_nodes.sbatch"] | {"SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "2"}
    return environment(**own) | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.slow
def test_several_machines_save_and_requeue(tmp_path: Path) -> None:
    """SIGUSR1 to all that srun has started, as Slurm sends it: a checkpoint, and the job is requeued once."""
    words = ["bash", EXAMPLES / "train_nodes.sbatch", "gan", "--data", "ring", "--run", "r"]
    job = subprocess.Popen(
        [*words, "--steps", "1000000", "--device", "cpu"],
        cwd=tmp_path,
        env=cluster_of_one(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "r" / "metrics.jsonl").is_file():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(job.pid)], capture_output=True, text=True, check=True
    )
    for process in (job.pid, *map(int, children.stdout.split())):
        os.kill(process, signal.SIGUSR1)
    said, _ = job.communicate(timeout=120)
    assert job.returncode > 0, "torchrun has waited for its processes, or Slurm would have killed them"
    assert (tmp_path / "queue").read_text() == "requeue 17\n", said
    assert "everything is saved; job 17 is requeued" in said
    assert list((tmp_path / "r" / "checkpoints").glob("[0-9]*")), "the next job resumes from it"
