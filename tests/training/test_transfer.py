"""What a run takes over from another: resolution, classes, channels; how much; and what stays frozen."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from command import draw_images, metrics_of
from torch import Tensor

import ganforge
from ganforge.cli.main import main
from ganforge.data.spec import DataSpec
from ganforge.errors import UserError
from ganforge.nn.layers import spectral_norms
from ganforge.runs.folder import Run
from ganforge.system import System
from ganforge.systems.discovery import find
from ganforge.training.transfer import Fit, blueprint, fit, stages, suited_fields, take

SMALL: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 8, "latent_size": 10},
    "lsgan": {"width": 8},
    "wgan": {"width": 8},
    "wgan_gp": {"width": 8},
    "sngan": {"width": 8, "discriminator_width": 8},
    "infogan": {"width": 8, "dense_units": 32},
    "acgan": {"width": 8, "discriminator_width": 4},
    "r3gan": {"width": 32, "blocks": 1},
    "fastgan": {"width": 8},
}
PAIRS = {"wgan": ("generator", "critic"), "wgan_gp": ("generator", "critic")}


def spec_of(size: int = 32, channels: int = 3, classes: str = "") -> DataSpec:
    return DataSpec(channels=channels, height=size, width=size, num_images=100, class_names=tuple(classes))


def built(name: str, spec: DataSpec, **fields: Any) -> System:
    kind = find(name)
    torch.manual_seed(1)
    return kind(kind.Config.model_validate(fields), spec)


def transferred(first: System, second: System) -> tuple[Fit, dict[str, Tensor]]:
    own = blueprint(type(second), second.config, second.data)
    weights = first.state_dict()
    found = fit(own, {name: tuple(tensor.shape) for name, tensor in weights.items()}, first.data)
    return found, take(own, found, weights, first.data)


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("sizes", [(32, 64), (64, 32)], ids=["larger", "smaller"])
def test_another_resolution_takes_all_shared_stages(name: str, sizes: tuple[int, int]) -> None:
    """With the fields that suit it, more than half of each network."""
    classes = "abc" if name == "acgan" else ""
    specs = [spec_of(size, classes=classes) for size in sizes]
    first = built(name, specs[0], **SMALL[name])
    there = blueprint(type(first), first.config, specs[0])
    values = first.config.model_dump(mode="json")
    fields = suited_fields(type(first), specs[1], {}, there, values)
    second = built(name, specs[1], **fields)
    found, tensors = transferred(first, second)
    assert min(found.shares.values()) > 0.5
    own = second.state_dict()
    assert all(tensor.shape == own[key].shape for key, tensor in tensors.items())
    second.load_state_dict(own | tensors)
    if name == "dcgan":
        assert fields["width"] == 8 * sizes[0] // sizes[1]
        assert min(found.shares.values()) > 0.9


def test_stages_are_those_of_the_same_maps() -> None:
    """Of 32 and 64 pixels the generator shares its first maps, the discriminator its last."""
    first, second = built("dcgan", spec_of(32), width=8), built("dcgan", spec_of(64), width=4)
    found, _ = transferred(first, second)
    assert found.sources["generator.dense.weight"] == "generator.dense.weight"
    assert found.sources["generator.layers.3.weight"] == "generator.layers.3.weight"
    assert "generator.layers.9.weight" not in found.sources
    assert found.sources["discriminator.layers.8.weight"] == "discriminator.layers.5.weight"
    assert found.sources["discriminator.layers.9.running_mean"] == "discriminator.layers.6.running_mean"
    assert "discriminator.layers.0.weight" not in found.sources
    constant = {"width": 8, "discriminator_width": 8}
    found, _ = transferred(built("sngan", spec_of(32), **constant), built("sngan", spec_of(64), **constant))
    last = ".convolution1.parametrizations.weight.original"
    assert found.sources[f"discriminator.blocks.4{last}"] == f"discriminator.blocks.3{last}"
    assert found.sources[f"discriminator.blocks.0{last}"] == f"discriminator.blocks.0{last}"
    assert f"discriminator.blocks.1{last}" not in found.sources


@pytest.mark.parametrize("name", ["sngan", "acgan", "cgan", "r3gan"])
def test_classes_are_matched_by_name(name: str) -> None:
    """A kept class looks as before though its number is another; a new one is the mean of all."""
    fields = SMALL.get(name, {}) | ({"conditional": True} if name in ("sngan", "r3gan") else {})
    first = built(name, spec_of(28, 1, "abcdef"), **fields)
    second = built(name, spec_of(28, 1, "fbx"), **fields)
    found, tensors = transferred(first, second)
    second.load_state_dict(second.state_dict() | tensors)
    assert found.sources.keys() == second.state_dict().keys()
    assert all(0.5 < share < 1 for share in found.shares.values())
    latents = torch.stack([first.draw_latents(1)[0]] * 2)  # type: ignore[attr-defined]
    batches = [ganforge.Batch(torch.empty(2, 0, 0, 0), torch.tensor(labels)) for labels in ([5, 1], [0, 1])]
    images = [
        system.eval().decode(latents, batch)  # type: ignore[attr-defined]
        for system, batch in zip((first, second), batches, strict=True)
    ]
    torch.testing.assert_close(images[0], images[1])


@pytest.mark.parametrize("name", ["dcgan", "sngan", "gan"])
@pytest.mark.parametrize("channels", [(1, 3), (3, 1)], ids=["coloured", "grey"])
def test_channels_are_adapted(name: str, channels: tuple[int, int]) -> None:
    """Grey images are made and judged by a colour network as by the grey one."""
    then, now = channels
    first, second = (built(name, spec_of(28, count), **SMALL.get(name, {})) for count in (then, now))
    found, tensors = transferred(first, second)
    assert set(found.shares.values()) == {1.0}
    second.load_state_dict(second.state_dict() | tensors)
    grey = torch.rand(2, 1, 28, 28) * 2 - 1
    logits = [
        system.eval().discriminate(grey.expand(-1, count, -1, -1))  # type: ignore[attr-defined]
        for system, count in ((first, then), (second, now))
    ]
    if name == "sngan":  # divided by its largest singular value, which is another
        assert logits[0].shape == logits[1].shape
    else:
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)
    if then == 1:
        latents = first.draw_latents(2)  # type: ignore[attr-defined]
        images = [system.decode(latents) for system in (first, second)]  # type: ignore[attr-defined]
        torch.testing.assert_close(images[0].expand(-1, 3, -1, -1), images[1])


def test_a_network_of_another_width_shares_nearly_nothing() -> None:
    found, _ = transferred(built("dcgan", spec_of(), width=8), built("dcgan", spec_of(), width=16))
    assert max(found.shares.values()) < 0.01


def test_buffers_and_schedules_are_not_counted_nor_taken() -> None:
    """Of other networks nothing is taken, though both have a buffer `augment.noise`."""
    found, tensors = transferred(built("vae", spec_of()), built("dcgan", spec_of(), width=8))
    assert set(found.shares.values()) == {0.0}
    assert tensors == {}


@pytest.mark.parametrize(("name", "count"), [("dcgan", 3), ("sngan", 4), ("r3gan", 4), ("wgan", 3)])
def test_stages_begin_at_the_image(name: str, count: int) -> None:
    system = built(name, spec_of(), **SMALL[name])
    network = system.get_submodule(PAIRS.get(name, ("", "discriminator"))[1])
    found = stages(network)
    assert len(found) == count
    inputs = next(parameter for parameter in found[0][0].parameters() if parameter.dim() > 1)
    assert inputs.shape[1] == 3


TINY = {"batch": 6, "latent_size": 4, "steps": 2, "device": "cpu", "precision": "fp32", "quiet": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    for name in "abc":
        draw_images(folder / "abc" / name, count=8, side=16)
    for name in "bx":
        draw_images(folder / "bx" / name, count=8, side=32)
    ganforge.train("dcgan", str(folder / "abc"), run=folder / "first", width=4, **TINY)
    return folder


def start_again(place: Path, run: Path, **options: Any) -> ganforge.Trained:
    values = TINY | {"start_from": str(place / "first"), **options}
    return ganforge.train("dcgan", str(place / "bx"), run=run, **values)


def test_what_was_taken_is_logged_and_printed(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "dcgan",
        "--data",
        str(place / "bx"),
        "--batch",
        "6",
        "--latent-size",
        "4",
        "--steps",
        "1",
    ]
    words += ["--from", str(place / "first"), "--run", str(tmp_path / "r"), "--precision", "fp32"]
    assert main(["--dry-run" if word == "" else word for word in [*words, "--dry-run"]]) == 0
    dry = capfd.readouterr().out
    assert not (tmp_path / "r").exists()
    assert main(words) == 0
    printed = "".join(capfd.readouterr())
    (note,) = metrics_of(tmp_path / "r", "note")
    assert note["text"].startswith(f"from {place / 'first'} at step 2: ")
    assert "% of the generator" in note["text"]
    assert "% of the discriminator" in note["text"]
    assert "discriminator.layers.0" in note["text"]  # what is new
    assert note["text"] in dry
    assert f"width = 2: with it {place / 'first'} fits" in dry
    assert "% of the generator" in printed
    config = Run.open(tmp_path / "r").config
    assert config.config["width"] == 2
    assert "width" in config.start_fields
    assert main([*words, "--steps", "2"]) == 0  # the same command resumes, also where the parent is gone
    assert len(metrics_of(tmp_path / "r", "note")) == 1


def test_the_average_starts_from_what_was_taken(place: Path, tmp_path: Path) -> None:
    second = start_again(place, tmp_path / "r", learning_rate=1e-30)
    first = ganforge.load(place / "first")
    name = "generator.dense.weight"
    assert torch.equal(second.system.state_dict()[name], first.system.state_dict()[name])


def test_too_little_is_refused_with_what_fits(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"too little fits.*--width 2 fits, or add --partial") as caught:
        start_again(place, tmp_path / "r", width=4)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()
    start_again(place, tmp_path / "r", width=4, partial=True)
    (note,) = metrics_of(tmp_path / "r", "note")
    assert "0 % of the generator" in note["text"]
    with pytest.raises(UserError, match=r"nothing of .* fits: use a run of vae"):
        ganforge.train("vae", str(place / "bx"), run=tmp_path / "s", start_from=str(place / "first"), steps=1)


def test_frozen_stages_stay_and_the_others_learn(place: Path, tmp_path: Path) -> None:
    """Also after a resume; Adam has no state of them."""
    start_again(place, tmp_path / "r", width=4, partial=True, freeze_discriminator=1, learning_rate=0.1)
    resumed = ganforge.resume(tmp_path / "r", steps=4, quiet=True)
    state = resumed.system.state_dict()
    before = ganforge.load(place / "first").system.state_dict()
    assert torch.equal(state["discriminator.layers.0.weight"], before["discriminator.layers.0.weight"])
    assert not torch.equal(state["discriminator.layers.2.weight"], before["discriminator.layers.2.weight"])
    whole = start_again(
        place, tmp_path / "w", width=4, partial=True, freeze_discriminator=1, learning_rate=0.1, steps=4
    )
    for name, tensor in whole.system.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_what_freezing_rejects(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has 3 stages: expected at most that"):
        start_again(place, tmp_path / "r", freeze_discriminator=4)
    with pytest.raises(UserError, match=r"--freeze-discriminator .* add --from RUN"):
        ganforge.train("dcgan", str(place / "bx"), run=tmp_path / "r", freeze_discriminator=1, **TINY)
    assert not (tmp_path / "r").exists()


def test_the_parent_is_found_where_it_was(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed before its first checkpoint, with a relative --from, resumed from another folder."""
    monkeypatch.chdir(place)
    start_again(Path(), tmp_path / "r", start_from="first", width=2)
    shutil.rmtree(tmp_path / "r" / "checkpoints")
    monkeypatch.chdir(tmp_path)
    assert ganforge.resume("r", quiet=True).step == 2
    assert json.loads(Path("r/config.json").read_text())["start_from"] == "first"


def test_norms_are_right_after_channels_changed(tmp_path: Path) -> None:
    draw_images(tmp_path / "data", count=12, side=8)
    fields = {"width": 4, "discriminator_width": 4, "discriminator_steps": 1, "learning_rate": 1e-12}
    options = TINY | {"steps": 1, **fields}
    ganforge.train("sngan", str(tmp_path / "data"), run=tmp_path / "a", channels="grey", **options)
    second = ganforge.train(
        "sngan", str(tmp_path / "data"), run=tmp_path / "b", start_from=str(tmp_path / "a"), **options
    )
    norms = spectral_norms(second.system.get_submodule("discriminator"))
    assert all(0.9 < norm < 1.2 for norm in norms.values()), norms
