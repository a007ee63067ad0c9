"""Every system trains the same in several processes as in one: losses of the golden traces, in float64."""

import json
from pathlib import Path

import pytest
import torch
from launched import ended, launch
from test_golden import FOLDER, RUNS

STEPS = 5
PROGRAM = f"""
import json, sys, torch
from ganforge.distributed import joined
from test_golden import RUNS, trace
torch.set_num_threads(1)
with joined() as shard:
    found = {{name: trace(*RUNS[name], shard, {STEPS}) for name in sys.argv[1:]}}
    if shard.rank == 0:
        print(json.dumps(found))
"""


def check(names: list[str], processes: int, cwd: Path) -> None:
    golden = {name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    if any(each["torch"] != torch.__version__ for each in golden.values()):
        pytest.skip("the traces are of another version of torch")
    done = ended(launch(PROGRAM, *names, processes=processes, cwd=cwd))
    assert all(code == 0 for code, _, _ in done), done
    found = json.loads(done[0][1])
    for name, each in golden.items():
        for metric, values in each["metrics"].items():
            if not metric.endswith("_moved"):
                assert found[name][metric] == pytest.approx(values[:STEPS], rel=2e-5), (name, metric)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_two_processes_train_as_one(part: int, tmp_path: Path) -> None:
    check(sorted(RUNS)[part::3], 2, tmp_path)


@pytest.mark.slow
def test_four_processes_train_as_one(tmp_path: Path) -> None:
    check(["gan-mnist", "dcgan-mnist", "cgan-mnist", "vae-iwae-mnist", "text_encoder-emoji"], 4, tmp_path)


@pytest.mark.slow
def test_options_that_look_at_the_whole_batch(tmp_path: Path) -> None:
    small = {"width": 8, "batch": 16}
    runs = {
        "ada": ("dcgan", "mnist", small | {"augment": "ada", "augment_target": 0.0}),
        "pack": ("dcgan", "mnist", small | {"pack": 2}),
        "noise": ("dcgan", "mnist", small | {"instance_noise": 0.1, "label_flips": 0.2}),
        "simultaneous": ("dcgan", "mnist", small | {"update": "simultaneous"}),
        "one-stage": ("dcgan", "mnist", small | {"update": "one_stage", "discriminator_norm": "group"}),
        "share-wgan_gp": ("wgan_gp", "mnist", small | {"penalty_share": 0.25}),
        "share-r3gan": ("r3gan", "mnist", small | {"penalty_share": 0.25, "augment": "color,translation"}),
        "mode-seeking": ("gan_cls", "emoji", small | {"discriminator_width": 4, "mode_seeking_weight": 0.1}),
    }
    program = PROGRAM.replace(
        "from test_golden import RUNS, trace", f"from test_golden import trace\nRUNS = {runs!r}"
    )
    (alone,) = ended(launch(program, *runs, processes=1, cwd=tmp_path))
    both = ended(launch(program, *runs, processes=2, cwd=tmp_path))
    assert [code for code, _, _ in (alone, *both)] == [0, 0, 0], (alone, both)
    expected, found = json.loads(alone[1]), json.loads(both[0][1])
    assert max(expected["ada"]["augmentation_probability"]) > 0  # it has adapted
    for name, each in expected.items():
        for metric, values in each.items():
            assert found[name][metric] == pytest.approx(values, rel=2e-5), (name, metric)
