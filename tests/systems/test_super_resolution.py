"""srresnet and srgan: crops, losses, content by VGG features from a file, what they learn, their scores."""

import hashlib
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command import draw_images
from torch import Tensor, nn

import ganforge
from ganforge.data.batch import Batch, DataSpec, conditions
from ganforge.data.bicubic import resize
from ganforge.errors import UserError
from ganforge.nn.networks.vgg import VGGFeatures
from ganforge.runs.sampling import draw
from ganforge.systems.families.perceptual import with_weights
from ganforge.systems.families.super_resolution import centre, random_crops
from ganforge.systems.srgan import SRGAN
from ganforge.systems.srresnet import SRResNet
from ganforge.training.update import OptimizerUpdate

SPEC = DataSpec(channels=1, height=16, width=20, num_images=10, source_shape=(1, 8, 10))
SMALL = {"width": 6, "num_blocks": 1, "crop_size": 12, "batch": 4}


def build(kind: type[SRResNet] | type[SRGAN], **fields: object) -> SRResNet | SRGAN:
    torch.manual_seed(0)
    more = {"discriminator_width": 8} if kind is SRGAN else {}
    return kind(with_weights(kind.Config(**(SMALL | more | fields))), SPEC).train()


def pairs(count: int, seed: int = 0) -> Batch:
    """Smooth images and what they are shrunk."""
    generator = torch.Generator().manual_seed(seed)
    images = resize(2 * torch.rand(count, 1, 4, 5, generator=generator) - 1, 16, 20)
    return Batch(images, sources=resize(images, 8, 10))


def step(system: SRResNet | SRGAN, batch: Batch) -> dict[str, float]:
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    return {name: float(value) for name, value in system.train_step(batch, update).items()}


@pytest.mark.parametrize("scale", [2, 4])
def test_crops_of_both_are_the_same_place(scale: int) -> None:
    """Of images whose pixels say where they are."""
    small = torch.arange(9 * 11).reshape(1, 1, 9, 11).float().expand(40, 1, 9, 11)
    large = small.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    sources, targets = random_crops(Batch(large, sources=small), 4 * scale, scale)
    assert sources.shape == (40, 1, 4, 4)
    assert torch.equal(targets[:, :, ::scale, ::scale], sources)
    assert torch.equal(targets[:, :, scale - 1 :: scale, scale - 1 :: scale], sources)
    corners = sources[:, 0, 0, 0].long()
    assert set((corners // 11).tolist()) == set(range(6))
    assert set((corners % 11).tolist()) == set(range(8))


def test_the_centre() -> None:
    image = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert centre(image, 2).flatten().tolist() == [14, 15, 20, 21]
    assert torch.equal(centre(image, 6), image)


def test_the_content_loss_is_the_squared_error() -> None:
    system = build(SRResNet, crop_size=400)
    nn.init.zeros_(system.generator.output.weight)
    nn.init.zeros_(system.generator.output.bias)  # grey images
    square = DataSpec(channels=1, height=16, width=16, num_images=10, source_shape=(1, 8, 8))
    assert SRResNet(SRResNet.Config(**SMALL), square).side == 12
    assert system.side == 16
    images = pairs(4).images[:, :, :, :16]
    batch = Batch(images, sources=resize(images, 8, 8))
    found = step(system, batch)
    assert found == {"content_loss": pytest.approx(float(images.square().mean()), rel=1e-5)}


def test_losses_of_an_undecided_discriminator() -> None:
    system = build(SRGAN)
    for parameter in system.discriminator.parameters():
        nn.init.zeros_(parameter)
    found = step(system, pairs(4))
    assert found["discriminator_loss"] == pytest.approx(math.log(4), rel=1e-5)
    assert found["generator_loss"] == pytest.approx(math.log(2), rel=1e-5)
    assert found["content_loss"] > 0


def test_the_adversarial_loss_has_its_weight() -> None:
    """The generator's loss is content + weight x adversarial, each as it is reported."""
    for weight in (0.0, 1e-3, 2.0):
        system, losses = build(SRGAN, adversarial_weight=weight), {}

        def update(name: str, loss: Tensor, watch: Tensor | None = None, kept: dict = losses) -> None:
            kept[name] = float(loss.detach())

        found = system.train_step(pairs(4), update)
        expected = float(found["content_loss"]) + weight * float(found["generator_loss"])
        assert losses["generator"] == pytest.approx(expected, rel=1e-5)


def test_the_rate_falls_halfway() -> None:
    system = build(SRGAN, steps=100)
    optimizers = system.build_optimizers()
    for images, rate in ((0, 1e-4), (199, 1e-4), (200, 1e-5), (400, 1e-5), (0, 1e-4)):
        system.schedule(optimizers, images)
        assert {group["lr"] for o in optimizers.values() for group in o.param_groups} == {rate}


def test_total_variation() -> None:
    from ganforge.nn.losses import total_variation

    slope = 3.0 * torch.arange(4)[:, None] + 2.0 * torch.arange(5)
    assert float(total_variation(slope.expand(2, 1, 4, 5))) == 3 * 5 * 9 + 4 * 4 * 4


def test_it_learns_to_enlarge() -> None:
    """In seconds it explains four fifths of the variance of unseen images."""
    system = build(SRResNet, learning_rate=3e-3, width=16, batch=16)
    update = OptimizerUpdate(system.build_optimizers(), "cpu")
    for number in range(200):
        system.train_step(pairs(16, number), update)
    unseen = pairs(16, 9_999)
    made = torch.cat(list(draw(system, 16, seed=0, given=unseen)))
    assert float((made - unseen.images).square().mean()) < 0.2 * float(unseen.images.square().mean())


def test_features_come_from_the_file_that_was_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    file = tmp_path / "vgg19.safetensors"
    reference = VGGFeatures("22").eval()
    safetensors.torch.save_file(reference.state_dict() | {"classifier.0.bias": torch.ones(2)}, file)
    fields = {"content": "vgg22", "vgg_weights": str(file)}
    system = build(SRResNet, **fields)
    assert system.config.vgg_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    fakes, targets = 2 * torch.rand(2, 1, 12, 12) - 1, 2 * torch.rand(2, 1, 12, 12) - 1
    expected = (reference(fakes) - reference(targets)).square().mean() / 12.75**2
    assert float(system.content(fakes, targets)) == pytest.approx(float(expected), rel=1e-5)
    fakes.requires_grad_()
    system.content(fakes, targets).backward()
    assert float(fakes.grad.abs().max()) > 0
    assert step(system, pairs(4))["content_loss"] > 0
    assert not any("features" in name for name in system.state_dict())

    again = SRResNet.Config.model_validate(system.config.model_dump())
    file.write_bytes(file.read_bytes() + b" ")
    other = SRResNet(again, SPEC)
    assert other.sample(2, conditions(sources=pairs(2).sources)).shape == (2, 1, 16, 20)
    with pytest.raises(UserError, match=r"has the SHA-256 [0-9a-f]{64}, expected"):
        step(other, pairs(4))
    file.unlink()
    with pytest.raises(UserError, match="No such file"):
        step(SRResNet(again, SPEC), pairs(4))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content": "vgg54", "vgg_weights": "no/such"}, "a file that is there"),
        ({"vgg_weights": __file__}, "is for --content"),
    ],
)
def test_features_without_weights_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_weights(SRResNet.Config(**fields))


def test_a_config_reads_no_file_and_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fetch", "cache_folder"):
        monkeypatch.setattr(f"ganforge.systems.families.perceptual.{name}", None)
    config = SRResNet.Config(content="vgg22", vgg_weights="no/such")
    assert config.vgg_sha256 is None
    assert SRResNet.Config(content="vgg22").vgg_weights is None


def test_published_features_are_fetched_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place, its name, that it is what its name says, and the form of torch.save."""
    reference = VGGFeatures("22").eval()
    torch.save(reference.state_dict(), tmp_path / "published.pth")
    data = (tmp_path / "published.pth").read_bytes()
    asked = []

    def fetch(what: str, url: str, name: str, known_hash: None, folder: Path, usage: str) -> None:
        asked.append(url + name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    monkeypatch.setattr("ganforge.systems.families.perceptual.fetch", fetch)
    monkeypatch.setattr("ganforge.systems.families.perceptual.cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(ValueError, match="came damaged: expected a SHA-256 from dcbb9e9d on"):
        build(SRResNet, content="vgg22")
    assert not list(tmp_path.glob("cache/vgg/*"))
    found = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr("ganforge.systems.families.perceptual.VGG_SHA256", found[:8])
    system = build(SRResNet, content="vgg22", vgg_sha256=None)
    assert asked[-1] == "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
    assert system.config.vgg_sha256 == found
    fakes, targets = torch.rand(2, 1, 12, 12), torch.rand(2, 1, 12, 12)
    expected = (reference(fakes) - reference(targets)).square().mean() / 12.75**2
    assert float(system.content(fakes, targets)) == pytest.approx(float(expected), rel=1e-5)


def test_crops_that_the_networks_cannot_take_are_refused() -> None:
    file = {"vgg_weights": "no/such", "vgg_sha256": "0" * 64}
    with pytest.raises(UserError, match="crops four times, which 12 pixels do not allow"):
        build(SRResNet, content="vgg54", crop_size=12, **file)
    with pytest.raises(UserError, match="--batch 1 with crops of 16 pixels"):
        build(SRGAN, batch=1, crop_size=16)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    for content in (b"no tensors", safetensors.torch.save({"features.0.weight": torch.ones(3)})):
        file.write_bytes(content)
        system = build(SRResNet, content="vgg22", vgg_weights=str(file))
        with pytest.raises(UserError, match=r"no file of torchvision's vgg19") as refused:
            step(system, pairs(4))
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        ({"source_shape": None}, {}, "--pairs downscale:4"),
        ({"source_shape": (1, 16, 20)}, {}, "--pairs downscale:4"),
        ({"source_shape": (1, 4, 10)}, {}, "--pairs downscale:4"),
        ({"channels": 3}, {}, "--pairs downscale:4"),
        ({}, {"crop_size": 13}, "--crop-size 12"),
    ],
)
def test_unsuitable_data_are_refused(
    spec: dict[str, object], fields: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        SRResNet(SRResNet.Config(**(SMALL | fields)), SPEC.model_copy(update=spec))
    assert "\n" not in str(refused.value)


def test_a_run_is_judged_beside_bicubic(tmp_path: Path) -> None:
    """From the command's function to the scores; the images of a training show small sources too."""
    draw_images(tmp_path / "data", count=24, side=24)
    run = ganforge.train(
        "srgan", str(tmp_path / "data"), run=tmp_path / "run", pairs="downscale:4", steps=2, quiet=True,
        device="cpu", precision="fp32", discriminator_width=4, **SMALL,
    )  # fmt: skip
    assert run.system.tiling.scale == 4
    assert (run.run.path / "samples" / "000002.png").exists()
    scores = {score.name: score for score in ganforge.evaluate(run.run.path)}
    names = {f"{way}{name}" for way in ("", "bicubic_") for name in ("psnr_y", "ssim_y", "sharpness")}
    assert names <= scores.keys()
    assert not {"psnr", "l1"} & scores.keys()
    assert 5 < scores["bicubic_psnr_y"].value < 40
    assert scores["psnr_y"].protocol["pairs"] == "downscale:4"
    assert "without 4 pixels" in scores["psnr_y"].protocol["on"]
    assert {"discriminator_on_held_out", "discriminator_on_generated"} <= scores.keys()
