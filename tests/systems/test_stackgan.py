"""StackGAN: its conditioning in closed form, its two stages, and that stage 2 needs a stage 1 that fits."""

from pathlib import Path

import pytest
import torch
from captioned import QUICK, draw_captioned
from command import run
from torch import Tensor

import ganforge
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.nn.networks.stackgan import ConditioningAugmentation
from ganforge.runs.device import autocast
from ganforge.system import ParentRun
from ganforge.systems.stackgan import StackGAN
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=3, height=32, width=32, num_images=60, embedding_size=6)
SKETCHES = SPEC.model_copy(update={"height": 8, "width": 8})
SMALL = {
    "width": 4,
    "refiner_width": 4,
    "discriminator_width": 4,
    "batch": 4,
    "latent_size": 3,
    "text_size": 5,
}


def build(spec: DataSpec = SPEC, **fields: object) -> StackGAN:
    torch.manual_seed(3)
    return StackGAN(StackGAN.Config(**({**SMALL, "blocks": 1} | fields)), spec).train()


def make_batch(spec: DataSpec, count: int = 4) -> Batch:
    return Batch(2 * torch.rand(count, *spec.shape) - 1, embeddings=torch.randn(count, 6))


# Conditioning augmentation


def with_weights(mean: float, std: float, size: int = 3) -> ConditioningAugmentation:
    network = ConditioningAugmentation(2, size, augment=True)
    torch.nn.init.zeros_(network.dense.weight)
    with torch.no_grad():
        network.dense.bias.copy_(
            torch.tensor([mean] * size + [std] * size).where(
                torch.arange(2 * size) < size, torch.tensor(std).log()
            )
        )
    return network


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (2.0, 1.0), (0.5, 0.1), (-1.0, 3.0)])
def test_divergence_is_that_of_two_gaussians(mean: float, std: float) -> None:
    draws, divergence = with_weights(mean, std)(torch.zeros(4, 2), torch.randn(4, 3))
    own = torch.distributions.Normal(mean, std)
    expected = 3 * torch.distributions.kl_divergence(own, torch.distributions.Normal(0.0, 1.0))
    assert float(divergence.detach()) == pytest.approx(float(expected), abs=1e-5)
    assert draws.shape == (4, 3)


def test_draws_have_the_mean_and_deviation() -> None:
    draws, _ = with_weights(2.0, 0.5)(torch.zeros(20_000, 2), torch.randn(20_000, 3))
    assert draws.mean(0).tolist() == pytest.approx([2.0] * 3, abs=0.02)
    assert draws.std(0).tolist() == pytest.approx([0.5] * 3, abs=0.02)


def test_without_augmentation_one_text_has_one_condition() -> None:
    network = ConditioningAugmentation(2, 3, augment=False)
    draws, divergence = network(torch.ones(5, 2), torch.empty(5, network.noise_size))
    assert network.noise_size == 0
    assert torch.equal(draws, draws[:1].expand(5, -1))
    assert float(divergence) == 0


# The stages


def test_stages_of_the_paper() -> None:
    spec = SPEC.model_copy(update={"height": 256, "width": 256, "embedding_size": 1024})
    with torch.device("meta"):
        system = StackGAN(StackGAN.Config(stage="2"), spec)
    found: list[tuple[int, ...]] = []

    def note(_: object, __: object, output: Tensor) -> None:
        found.append(tuple(output.shape[1:]))

    system.refiner.blocks.register_forward_hook(note)  # type: ignore[operator, union-attr]
    system.sketch.layers.register_forward_hook(note)
    with torch.device("meta"):
        images = system.decode(torch.empty(2, 100 + 128 + 128), conditions(embeddings=torch.empty(2, 1024)))
    assert images.shape == (2, 3, 256, 256)
    assert found == [(64, 64, 64), (512, 16, 16)]
    assert system.sketch.dense.out_features == 1024 * 4 * 4
    assert len(system.refiner.blocks) == 4  # type: ignore[arg-type]


def test_a_step_of_stage_2_leaves_the_sketches_alone() -> None:
    system, batch = build(stage="2"), make_batch(SPEC)
    before = {name: value.clone() for name, value in system.sketch.state_dict().items()}
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for _ in range(2):
        metrics = system.train_step(batch, update)
    assert all(torch.equal(value, before[name]) for name, value in system.sketch.state_dict().items())
    assert all(value.isfinite() for value in metrics.values())
    owned = {
        id(p)
        for optimizer in system.build_optimizers().values()
        for g in optimizer.param_groups
        for p in g["params"]
    }
    assert owned == {id(p) for name, p in system.named_parameters() if not name.startswith("sketch.")}


def test_stage_2_in_bf16() -> None:
    system = build(stage="2")
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    with autocast(torch.device("cpu"), "bf16"):
        metrics = system.train_step(make_batch(SPEC), update)
    assert all(value.isfinite() and value.dtype == torch.float32 for value in metrics.values())


@pytest.mark.parametrize("stage", ["1", "2"])
def test_all_that_is_drawn_is_in_the_latents(stage: str) -> None:
    """So texts can be compared, and go over into one another, with the same noise; also in float64."""
    system = build(stage=stage).double().eval()
    texts = conditions(embeddings=torch.randn(6, dtype=torch.float64).expand(4, -1))
    latents = system.draw_latents(4).double()
    images = system.decode(latents, texts)
    assert images.dtype == torch.float64
    assert torch.equal(images, system.decode(latents, texts))
    for place in (0, 3, 8)[: 1 + int(stage)]:  # of the latent, of the noise of each stage
        other = latents.clone()
        other[:, place] += 1
        assert not torch.equal(images, system.decode(other, texts))
    assert latents.shape == (4, 3 + 5 * int(stage))


# Chained runs


def config_of(**fields: object) -> StackGAN.Config:  # type: ignore[valid-type]
    return StackGAN.Config(**({**SMALL, "stage": "2"} | fields))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (None, "there is none: add --from RUN"),
        (ParentRun("dcgan", SKETCHES), "one of dcgan"),
        (ParentRun("stackgan", SPEC), "makes images of 32 pixels, .* makes 128, not 32: use --size 128"),
    ],
)
def test_what_stage_2_cannot_begin_with(start: ParentRun | None, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        StackGAN.check_start(config_of(), SPEC, start)
    assert "\n" not in str(refused.value)
    StackGAN.check_start(config_of(stage="1"), SPEC, None)
    StackGAN.check_start(config_of(), SPEC, ParentRun("stackgan", SKETCHES))


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_chained_runs(tmp_path: Path) -> None:
    draw_captioned(tmp_path / "shapes")
    assert (
        run(
            "train", "text_encoder", "--data", "shapes", "--run", "enc", "--steps", 2, *QUICK, cwd=tmp_path
        ).returncode
        == 0
    )
    words = [word for name, value in SMALL.items() for word in (option(name), value)]
    train = ("train", "stackgan", "--data", "shapes", *words, "--blocks", 1, "--steps", 3)
    one = run(*train, "--size", 8, "--text-encoder", "enc", "--run", "one", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    alone = run(*train, "--size", 32, "--stage", 2, "--text-encoder", "enc", "--run", "two", cwd=tmp_path)
    assert alone.returncode == 2
    assert "add --from RUN" in alone.stderr
    other = run(
        "train",
        "text_encoder",
        "--data",
        "shapes",
        "--run",
        "other",
        "--seed",
        1,
        "--steps",
        2,
        *QUICK,
        cwd=tmp_path,
    )
    assert other.returncode == 0
    mixed = run(
        *train,
        "--size",
        32,
        "--stage",
        2,
        "--from",
        "one",
        "--text-encoder",
        "other",
        "--run",
        "two",
        cwd=tmp_path,
    )
    assert (mixed.returncode, mixed.stderr.count("\n")) == (2, 1)
    assert "trained with another encoder: leave --text-encoder out" in mixed.stderr
    assert not (tmp_path / "two").exists()
    second = (*train, "--size", 32, "--stage", 2, "--from", "one", "--run", "two")
    wider = run(*second, "--width", 6, cwd=tmp_path)
    assert (wider.returncode, wider.stderr.count("\n")) == (2, 1)
    assert "averaged sketch of one at step 3 does not fit" in wider.stderr
    taken_over = ("width", "latent_size", "text_size")
    words = [word for name in SMALL if name not in taken_over for word in (option(name), SMALL[name])]
    narrow = ("--blocks", 1, "--steps", 3, "--size", 32, "--stage", 2, "--from", "one", "--run", "two")
    done = run("train", "stackgan", "--data", "shapes", *words, *narrow, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, both = ganforge.load(tmp_path / "one"), ganforge.load(tmp_path / "two")
    sketch = {name: value for name, value in first.tensors()["average"].items() if name.startswith("sketch.")}
    theirs = both.tensors()["average"]
    assert sketch
    assert all(torch.equal(value, theirs[name]) for name, value in sketch.items())
    (tmp_path / "one").rename(tmp_path / "gone")
    sampled = run("sample", "two", "--text", "a red dot", "--count", 2, "--out", "a.png", cwd=tmp_path)
    assert sampled.returncode == 0, sampled.stderr
