"""pix2pix: its losses, its noise, what it learns, and its commands on real files."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command import draw_images
from torch import Tensor, nn
from torch.nn.functional import interpolate

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.errors import UserError
from ganforge.files.provenance import read_provenance
from ganforge.runs.sampling import draw
from ganforge.runs.trained import Trained
from ganforge.system import networks
from ganforge.systems.pix2pix import Pix2Pix
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=1, height=16, width=16, num_images=10, source_shape=(1, 16, 16))
SMALL = {"width": 8, "discriminator_width": 8, "patch": "16"}


def build(spec: DataSpec = SPEC, **fields: object) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix(Pix2Pix.Config(**({**SMALL, "batch": 4} | fields)), spec).train()


def smooth(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return interpolate(2 * torch.rand(count, 1, 4, 4, generator=generator) - 1, (16, 16), mode="bilinear")


def step(system: Pix2Pix, batch: Batch) -> dict[str, float]:
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    return {name: float(value) for name, value in system.train_step(batch, update).items()}


def test_losses_of_an_undecided_discriminator() -> None:
    system = build()
    for parameter in system.discriminator.parameters():
        nn.init.zeros_(parameter)
    nn.init.zeros_(system.generator.decoder[-1].weight)  # grey images
    targets = smooth(4, 0)
    found = step(system, Batch(targets, sources=-targets))
    assert found["discriminator_loss"] == pytest.approx(math.log(2), rel=1e-5)  # half of log 4
    assert found["generator_loss"] == pytest.approx(math.log(2), rel=1e-5)
    assert found["real_probability"] == found["fake_probability"] == 0.5
    assert found["l1_loss"] == pytest.approx(float(targets.abs().mean()), rel=1e-5)


def test_l1_alone_has_no_discriminator() -> None:
    system = build(adversarial=False)
    assert list(networks(system)) == ["generator"]
    assert step(system, Batch(smooth(4, 0), sources=smooth(4, 1))).keys() == {"l1_loss"}
    assert system.discriminate(smooth(4, 0), Batch(smooth(4, 0), sources=smooth(4, 1))) is None
    with pytest.raises(ValueError, match="leaves no loss"):
        Pix2Pix.Config(adversarial=False, l1_weight=0)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_residual_blocks_learn(norm: str) -> None:
    system = build(network="resnet", blocks=2, norm=norm, adversarial=False, learning_rate=2e-3)
    batch = Batch(smooth(4, 0), sources=smooth(4, 1))
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    losses = [float(system.train_step(batch, update)["l1_loss"]) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]
    assert system.tiling.multiple == 4
    assert system.tiling.least == 16


@pytest.mark.parametrize("side", [4, 18])
def test_sizes_of_residual_blocks(side: int) -> None:
    spec = DataSpec(channels=1, height=side, width=side, num_images=10, source_shape=(1, side, side))
    with pytest.raises(UserError, match="multiples of 4"):
        build(spec, network="resnet", adversarial=False)


def test_a_weight_of_0_leaves_the_gan_alone() -> None:
    """Then the targets of a step reach the generator through the discriminator only."""
    gradients = []
    for weight in (0.0, 100.0):
        system = build(l1_weight=weight)
        before = system.generator.decoder[-1].weight.detach().clone()
        for parameter in system.discriminator.parameters():
            nn.init.zeros_(parameter)
        system.discriminator.requires_grad_(False)

        def update(name: str, loss: Tensor, watch: Tensor | None = None) -> None:
            if name == "generator":
                loss.backward()

        system.train_step(Batch(smooth(4, 0), sources=smooth(4, 1)), update)
        gradients.append(float(system.generator.decoder[-1].weight.grad.abs().max()))
        assert torch.equal(system.generator.decoder[-1].weight, before)
    assert gradients[0] == 0
    assert gradients[1] > 0


@pytest.mark.parametrize("conditional", [True, False])
def test_what_the_discriminator_is_shown(conditional: bool) -> None:
    system = build(conditional_discriminator=conditional)
    images, sources = smooth(3, 0), smooth(3, 1)
    one = system.discriminate(images, conditions(sources=sources))
    other = system.discriminate(images, conditions(sources=-sources))
    assert one is not None
    assert other is not None
    assert one.shape == (3,)
    assert torch.equal(one, other) != conditional


def test_noise_is_a_function_of_the_seed() -> None:
    system, given = build(), conditions(sources=smooth(1, 0).expand(2, -1, -1, -1))
    one = torch.cat(list(draw(system, 2, seed=1, given=given)))
    assert torch.equal(one, torch.cat(list(draw(system, 2, seed=1, given=given))))
    assert not torch.equal(one, torch.cat(list(draw(system, 2, seed=2, given=given))))
    assert not torch.equal(one[0], one[1])


def test_it_learns_to_invert() -> None:
    system = build(adversarial=False, learning_rate=2e-3)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for number in range(120):
        targets = smooth(4, number)
        system.train_step(Batch(targets, sources=-targets), update)
    unseen = smooth(16, 9_999)
    made = torch.cat(list(draw(system, 16, seed=0, given=conditions(sources=-unseen))))
    assert float((made - unseen).abs().mean()) < 0.4 * float(unseen.abs().mean())


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        ({"source_shape": None}, {}, "--pairs edges"),
        ({"height": 30, "width": 30, "source_shape": (1, 30, 30)}, {}, "--size 28"),
        ({}, {"depth": 5}, "multiples of 32.*--depth 4"),
        ({}, {"patch": "70"}, "--patch 70 needs 24 pixels"),
        ({"source_shape": (1, 8, 8)}, {}, "keeps the size.*--pairs blur"),
    ],
)
def test_unsuitable_data_are_refused(
    spec: dict[str, object], fields: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        build(SPEC.model_copy(update=spec), **fields)
    assert "\n" not in str(refused.value)


def test_wrong_sources_are_refused() -> None:
    system = build()
    with pytest.raises(UserError, match="translates sources"):
        system.sample(3)
    with pytest.raises(UserError, match=r"\[2, 3, 16, 16\] for 2 samples: expected one for each, of 1x16x16"):
        system.sample(2, conditions(sources=torch.zeros(2, 3, 16, 16)))
    with pytest.raises(UserError, match="for 5 samples"):
        system.sample(5, conditions(sources=torch.zeros(2, 1, 16, 16)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two steps of colouring grey images of a folder, from its commands to its files."""
    folder = tmp_path_factory.mktemp("pix2pix")
    data = draw_images(folder / "data", count=24, side=16)
    return ganforge.train(
        "pix2pix", str(data), run=folder / "run", pairs="blur", jitter=2, flip=True, steps=2,
        quiet=True, device="cpu", precision="fp32", **SMALL,
    )  # fmt: skip


def test_previews_are_of_pairs(trained: Trained) -> None:
    assert (trained.run.path / "samples" / "000002.png").exists()
    lines = trained.run.metrics("samples")
    assert [line["step"] for line in lines] == [0, 2]
    assert all(0 < line["sample_l1"] < 2 and line["real_sample_distance"] > 0 for line in lines)
    assert "classes" not in lines[0]


def test_evaluation_names_its_pairs(trained: Trained) -> None:
    scores = {score.name: score for score in ganforge.evaluate(trained.run.path)}
    assert 0 < scores["l1"].value < 2
    assert 0 < scores["psnr"].value < 100
    assert scores["l1"].protocol["pairs"] == "blur"
    assert "24 of" in scores["psnr"].protocol["sources"]
    assert "parzen_log_likelihood" not in scores
    assert {"discriminator_on_held_out", "discriminator_on_generated"} <= scores.keys()


def test_samples_of_its_own_data(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(trained.run.path)
    assert main(["sample", run, "--count", "3", "--out", str(tmp_path / "three.npz")]) == 0
    with np.load(tmp_path / "three.npz") as arrays:
        assert arrays["images"].shape == arrays["sources"].shape == arrays["targets"].shape == (3, 16, 16, 3)
    assert main(["sample", run, "--out", str(tmp_path / "grid.png")]) == 0
    assert "source, output, target" in capsys.readouterr().out
    assert main(["sample", run, "--count", "99", "--out", str(tmp_path / "x.png")]) == 2
    assert "has 24 pairs" in capsys.readouterr().err
    assert main(["sample", run, "--labels", "1", "--out", str(tmp_path / "x.png")]) == 2
    capsys.readouterr()


def test_samples_of_other_images(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, mine = str(trained.run.path), draw_images(tmp_path / "mine", count=3, side=16)
    (mine / "001.png").write_bytes(b"no image")
    assert main(["sample", run, "--sources", str(mine), "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("skipped: 001.png (not a PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000.png", "000001.png"]
    assert read_provenance(tmp_path / "out" / "000001.png")["source"] == "002.png"
    assert main(["sample", run, "--sources", "no/such", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
