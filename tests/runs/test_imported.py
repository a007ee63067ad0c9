"""Runs of the weights of other people's code: they compute what it does, and verbs take them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command import draw_images, files_of
from foreign import MimicryGenerator, ResnetGenerator, TutorialGenerator, UnetGenerator, save, trained
from PIL import Image
from torch import Tensor, nn

import ganforge
from ganforge.cli.main import main
from ganforge.data.batch import to_float, to_uint8
from ganforge.errors import UserError

CLOSE = 1e-5


def tutorial(channels: int = 3) -> nn.Module:
    """A generator of the tutorial."""
    return trained(TutorialGenerator(nc=channels), noise(20, 10, 1, 1))


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Uniform in [-1, 1], the same every time."""
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


def imported(kind: str, network: nn.Module, folder: Path, *options: str, ending: str = ".pth") -> Path:
    """The run folder of `network`, whose weights go through a file."""
    file = save(network.state_dict(), folder / f"weights{ending}")
    run = folder / "run"
    assert main(["import", kind, str(file), "--run", str(run), *options]) == 0
    return run


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_tutorials_dcgan_samples_as_the_original(tmp_path: Path, ending: str, channels: int) -> None:
    original = tutorial(channels)
    run = ganforge.load(imported("tutorial-dcgan", original, tmp_path, ending=ending), "cpu")
    latents = run.draw_latents(5, seed=3)
    with torch.no_grad():
        expected = original(latents[:, :, None, None])
    assert expected.std() > 0.1
    assert torch.equal(run.sample(5, seed=3), run.decode(latents))
    assert (run.decode(latents) - expected).abs().max() < CLOSE


def test_weights_of_parallel_gpus_in_the_form_of_older_versions(tmp_path: Path) -> None:
    original = tutorial()
    state = {
        f"module.{name}": tensor
        for name, tensor in original.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert main(["import", "tutorial-dcgan", str(tmp_path / "old.pth"), "--run", str(tmp_path / "run")]) == 0
    run = ganforge.load(tmp_path / "run", "cpu")
    latents = run.draw_latents(2)
    with torch.no_grad():
        assert (run.decode(latents) - original(latents[:, :, None, None])).abs().max() < CLOSE


BATCH, INSTANCE = nn.BatchNorm2d, nn.InstanceNorm2d
TRANSLATORS: dict[str, Callable[[], nn.Module]] = {
    "unet_128 batch": lambda: UnetGenerator(7, 3, BATCH),
    "unet_256 batch": lambda: UnetGenerator(8, 2, BATCH),
    "unet_128 instance": lambda: UnetGenerator(7, 3, INSTANCE, outputs=1),
    "resnet_6blocks batch dropout": lambda: ResnetGenerator(6, 3, BATCH, dropout=True),
    "resnet_6blocks instance dropout": lambda: ResnetGenerator(6, 3, INSTANCE, dropout=True),
    "resnet_9blocks instance": lambda: ResnetGenerator(9, 3, INSTANCE, outputs=1),
    "resnet_9blocks batch": lambda: ResnetGenerator(9, 3, BATCH),
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", TRANSLATORS)
def test_translators_are_the_original(tmp_path: Path, name: str, mode: str) -> None:
    """In the mode of its test.py, with dropout of the same random numbers; and with its --eval."""
    training = 128 if "128" in name else 256
    side = training if "unet" in name else 40
    original = trained(TRANSLATORS[name](), noise(2, 3, side, side, seed=2)).train(mode == "train")
    options = ["--eval"] if mode == "eval" else []
    ending = ".safetensors" if "9blocks" in name else ".pth"
    run = ganforge.load(imported("pix2pix", original, tmp_path, *options, ending=ending), "cpu")
    assert run.run.config.spec.height == training
    assert run.run.config.spec.source_shape == (3, training, training)
    sources = noise(3, 3, side, side).split(1)
    torch.manual_seed(5)
    with torch.no_grad():
        expected = torch.cat([original(source) for source in sources])
    found = torch.cat(list(run.call("translate", sources, seed=5)))
    assert expected.std() > 0.05
    assert (found - expected).abs().max() < CLOSE


def test_images_of_the_size_of_training_are_translated_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of residual blocks, whose norms see the whole image, though they take tiles of any multiple of 4."""
    original = trained(ResnetGenerator(6, 2, INSTANCE), noise(1, 3, 40, 40))
    run = imported("pix2pix", original, tmp_path)
    images = tmp_path / "horses"
    images.mkdir()
    source = noise(3, 256, 256)
    pixels = to_uint8(source).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(images / "a.png")
    assert main(["apply", str(run), str(images), "--out", str(tmp_path / "zebras")]) == 0
    with torch.no_grad():
        (expected,) = original(to_float(torch.from_numpy(pixels)).permute(2, 0, 1)[None])
    found = np.asarray(Image.open(tmp_path / "zebras" / "a.png")).astype(int)
    difference = np.abs(found - to_uint8(expected).permute(1, 2, 0).numpy())
    assert difference.max() <= 1  # by rounding
    capsys.readouterr()
    assert main(["sample", str(run), "--sources", str(images), "--out", str(tmp_path / "pair.png")]) == 0
    assert main(["sample", str(run)]) == 2
    assert "--sources" in capsys.readouterr().err
    assert main(["explore", "interpolate", str(run)]) == 2
    assert main(["info", str(run)]) == 0
    assert "can     sample, apply" in capsys.readouterr().out


def test_a_translator_trained_without_dropout_has_no_noise(tmp_path: Path) -> None:
    source = noise(1, 3, 128, 128)
    original = trained(UnetGenerator(7, 2, BATCH, dropout=False), source).train()
    run = ganforge.load(imported("pix2pix", original, tmp_path, "--no-dropout"), "cpu")
    with torch.no_grad():
        expected = original(source)
    for seed in (1, 2):
        (found,) = run.call("translate", [source], seed=seed)
        assert (found - expected).abs().max() < CLOSE


def test_a_translator_is_evaluated_on_pairs(tmp_path: Path) -> None:
    run = imported("pix2pix", trained(UnetGenerator(5, 2, BATCH), noise(1, 3, 32, 32)), tmp_path)
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for number in range(6):
        pixels = to_uint8(noise(32, 64, 3, seed=number)).numpy()
        Image.fromarray(pixels).save(pairs / f"{number}.png")
    scores = ganforge.evaluate(run, data=str(pairs), num_samples=4, features="random")
    assert {"l1", "psnr_y"} & {score.name for score in scores}


def mimicry(side: int) -> nn.Module:
    """A generator of that side."""
    return trained(MimicryGenerator(side, 32), noise(8, 12))


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("side", [32, 48, 64, 128])
def test_mimicrys_sngan_samples_as_the_original(tmp_path: Path, side: int, ending: str) -> None:
    original = mimicry(side)
    nearly_dead = original.get_submodule("block3.b1")
    assert isinstance(nearly_dead, nn.BatchNorm2d)
    assert nearly_dead.running_var is not None
    with torch.no_grad():  # far below what norms add to it, which is 1e-5 there and 2e-5 here
        nearly_dead.running_var[0], nearly_dead.weight[0] = 1e-7, 1e-3
    run = ganforge.load(imported("mimicry-sngan", original, tmp_path, ending=ending), "cpu")
    latents = run.draw_latents(3, seed=3)
    with torch.no_grad():
        expected = original(latents)
    assert expected.shape[2:] == (side, side)
    assert expected.std() > 0.05
    assert torch.equal(run.sample(3, seed=3), run.decode(latents))
    assert (run.decode(latents) - expected).abs().max() < CLOSE


@pytest.mark.parametrize("zipped", [True, False])
def test_mimicrys_checkpoints_have_an_optimizer(tmp_path: Path, zipped: bool) -> None:
    original = mimicry(32)
    optimizer = torch.optim.Adam(original.parameters(), 2e-4, betas=(0.0, 0.9))
    original(noise(2, 12)).sum().backward()
    optimizer.step()
    content = {"model_state_dict": original.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
    file = tmp_path / "netG_100000_steps.pth"
    torch.save(content | {"global_step": 100_000}, file, _use_new_zipfile_serialization=zipped)
    assert main(["import", "mimicry-sngan", str(file), "--run", str(tmp_path / "run")]) == 0
    run = ganforge.load(tmp_path / "run", "cpu")
    latents = run.draw_latents(2)
    with torch.no_grad():
        assert (run.decode(latents) - original(latents)).abs().max() < CLOSE


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("block4.c1.weight", None, "2 blocks in it (no block4.c1.weight), expected 3, 4 or 5"),
        ("l1.weight", torch.ones(100, 12), "l1.weight is [100, 12], expected [512 or 9216, nz]"),
        ("l1.bias", None, "no l1.bias in it, expected [512]"),
        ("block2.c_sc.weight", torch.ones(32, 32, 3, 3), "[32, 32, 3, 3], expected [32, 32, 1, 1]"),
        ("block3.b2.running_mean", torch.ones(3), "block3.b2.running_mean is [3], expected [32]"),
    ],
)
def test_other_tensors_of_mimicry_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    tensor: Tensor | None,
    message: str,
) -> None:
    tensors = dict(mimicry(32).state_dict())
    tensors.pop(name)
    tensors |= {} if tensor is None else {name: tensor}
    save(tensors, tmp_path / "w.pth")
    assert main(["import", "mimicry-sngan", str(tmp_path / "w.pth"), "--run", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "w.pth is no mimicry-sngan: " in line
    assert message in line
    assert list(files_of(tmp_path)) == ["w.pth"]


PUBLISHED: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = {
    "tutorial": ("tutorial-dcgan", lambda: TutorialGenerator(100, 64), (4, 100, 1, 1)),
    "mimicry": ("mimicry-sngan", lambda: MimicryGenerator(32, 256, 128), (2, 128)),
    "CycleGAN": ("pix2pix", lambda: ResnetGenerator(9, 64, INSTANCE), (1, 3, 32, 32)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_at_published_widths_only_rounding_differs(tmp_path: Path, name: str) -> None:
    """In single precision the original itself differs by 1e-5 from what it is in double precision."""
    kind, build, shape = PUBLISHED[name]
    original = trained(build(), noise(*shape, seed=2))
    run = ganforge.load(imported(kind, original, tmp_path), "cpu")
    generator = run.system.get_submodule("generator").double()
    inputs = noise(*shape).double()
    with torch.no_grad():
        expected = original.double()(inputs)
        found = generator(inputs.flatten(1) if name == "tutorial" else inputs)
    assert expected.std() > 0.3
    assert (found - expected).abs().max() < 1e-6


def test_verbs_take_an_imported_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "faces", 12, 64)
    (tmp_path / "runs").mkdir()
    imported("tutorial-dcgan", tutorial(), tmp_path)
    (tmp_path / "run").rename("runs/a")
    capsys.readouterr()

    def shown(command: str) -> str:
        assert main(command.split()) == 0
        return capsys.readouterr().out

    assert "samples.png: 4 samples" in shown("sample runs/a --count 4")
    shown("explore interpolate runs/a --out path.png")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    assert f"weights.pth (tutorial-dcgan), SHA-256 {digest[:16]}" in shown("info runs/a")
    assert json.loads(Path("runs/a/config.json").read_text("utf-8"))["origin"]["sha256"] == digest
    (row,) = [line for line in shown("list runs --verbose").splitlines() if line.startswith("runs/a")]
    assert "imported" in row
    assert "dcgan imported from weights.pth" in row
    scores = shown("evaluate runs/a --data faces --num-samples 8 --features random")
    assert "runs/a/evaluations" in scores.replace("\n", "")
    assert "Imported from weights.pth (tutorial-dcgan)" in Path("runs/a/report.html").read_text("utf-8")

    def refused(command: str) -> str:
        before = files_of(tmp_path)
        assert main(command.split()) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert files_of(tmp_path) == before
        return line

    assert "--from runs/a --partial" in refused("resume runs/a")
    assert "name some with --data" in refused("evaluate runs/a")
    assert "--from runs/a --partial" in refused("train dcgan --data faces --size 64 --run runs/a")
    assert "runs/a exists" in refused("import tutorial-dcgan weights.pth --run runs/a")
    assert "no discriminator" in refused("analyze features runs/a --data faces --out f.npz")
    small = "--size 64 --steps 1 --batch 4"
    shown(f"train dcgan --data faces {small} --from runs/a --partial --run runs/b")
    started = [json.loads(line) for line in Path("runs/b/metrics.jsonl").read_text("utf-8").splitlines()]
    assert any("100 % of the generator" in str(line.get("text")) for line in started)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("main.0.weight", None, "no main.0.weight in it, expected [nz, 32, 4, 4]"),
        ("main.4.running_var", None, "no main.4.running_var in it, expected [16]"),
        (
            "main.3.weight",
            torch.ones(32, 16, 5, 5),
            "main.3.weight is [32, 16, 5, 5], expected [32, 16, 4, 4]",
        ),
        (
            "main.12.weight",
            torch.ones(4, 2, 4, 4),
            "main.12.weight is [4, 2, 4, 4], expected [ngf, 1 or 3, 4, 4]",
        ),
        (
            "main.6.weight",
            torch.ones(16, 8, 4, 4).long(),
            "main.6.weight is [16, 8, 4, 4] of int64, expected",
        ),
        ("main.15.weight", torch.ones(2), "it has main.15.weight, which such a network does not"),
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_other_tensors_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    name: str,
    tensor: Tensor | None,
    message: str,
) -> None:
    tensors = dict(tutorial().state_dict())
    tensors.pop(name, None)
    tensors |= {} if tensor is None else {name: tensor}
    file = save(tensors, tmp_path / f"w{ending}")
    assert main(["import", "tutorial-dcgan", str(file), "--run", str(tmp_path / "runs" / "a")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"w{ending} is no tutorial-dcgan: {message}" in line
    assert list(files_of(tmp_path)) == [file.name]


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        (TutorialGenerator, "", "neither model.model.0.weight (U-Net) nor model.1.weight (residual blocks)"),
        (lambda: UnetGenerator(7, 2, BATCH), "model.model.1.model.3.model.5.weight", "[16, 4, 4, 4]"),
        (lambda: UnetGenerator(7, 2, BATCH), "model.model.1.model.2.bias", "[4]"),
        (lambda: UnetGenerator(7, 2, INSTANCE), "model.model.1.model.1.bias", "[4]"),
        (lambda: UnetGenerator(7, 2, BATCH), "model.model.1.model.3.model.3.model.1.weight", "5 levels"),
        (lambda: ResnetGenerator(6, 2, BATCH), "model.12.conv_block.2.weight", "[8]"),
        (lambda: ResnetGenerator(6, 2, BATCH, dropout=True), "model.12.conv_block.6.weight", "[8, 8, 3, 3]"),
        (lambda: ResnetGenerator(6, 2, INSTANCE), "model.10.conv_block.1.weight", "a residual block"),
        (lambda: ResnetGenerator(6, 2, INSTANCE), "model.23.weight", "[1 or 3, 2, 7, 7]"),
    ],
)
def test_other_translators_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    network: Callable[[], nn.Module],
    name: str,
    message: str,
) -> None:
    tensors = dict(network().state_dict())
    tensors.pop(name, None)
    save(tensors, tmp_path / "w.pth")
    assert main(["import", "pix2pix", str(tmp_path / "w.pth"), "--run", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "w.pth is no pix2pix: " in line
    assert name in line
    assert message in line
    assert list(files_of(tmp_path)) == ["w.pth"]


def test_options_of_another_kind_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tutorial().state_dict(), tmp_path / "w.pth")
    for option in (["--eval"], ["--no-dropout"], ["--pairs", "side-by-side:right"]):
        arguments = ["import", "tutorial-dcgan", str(tmp_path / "w.pth"), "--run", str(tmp_path / "run")]
        assert main([*arguments, *option]) == 2
        assert "are for pix2pix" in capsys.readouterr().err
    assert list(files_of(tmp_path)) == ["w.pth"]


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    whole = save(tutorial().state_dict(), tmp_path / f"w{ending}").read_bytes()
    run = str(tmp_path / "run")
    for name, content, message in (
        (f"cut{ending}", whole[: len(whole) // 2], "is damaged"),
        (f"empty{ending}", b"", "is damaged"),
        ("w.ckpt", whole, "expected a name ending in .pth or .safetensors"),
        (f"absent{ending}", None, "cannot be read: No such file"),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert main(["import", "tutorial-dcgan", str(tmp_path / name), "--run", run]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert not Path(run).exists()


def test_nothing_is_left_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganforge.runs.imported import write

    def full(*_: object, **__: object) -> None:
        raise UserError("no room")

    monkeypatch.setattr(write, "save_checkpoint", full)
    file = save(tutorial().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="no room"):
        write.import_weights("tutorial-dcgan", file, tmp_path / "run")
    assert list(files_of(tmp_path)) == ["w.pth"]
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]
