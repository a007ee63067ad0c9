"""What is exported names no folder of the machine that it was trained on."""

import json
import shlex
from pathlib import Path

import pytest
from command import files_of
from untrained import untrained

import ganforge
from ganforge.export.hub import write_hub
from ganforge.export.package import write_shipped
from ganforge.export.places import command_without_paths, name_of, text_without_paths
from ganforge.reporting.evaluations import read_evaluations, store_evaluation
from ganforge.runs.folder import LOG
from ganforge.runs.trained import Trained

HOME = "/home/alice/my clients"


def with_paths(path: Path) -> Trained:
    """A run that was trained, warm started and evaluated with files of Alice."""
    trained = untrained(path, "srgan")
    config = trained.run.config
    places = {"data": f"{HOME}/acme", "sources": f"{HOME}/acme-sources"}
    changed = {
        "data": config.data.model_copy(update=places),
        "config": config.config | {"content": "vgg22", "vgg_weights": f"{HOME}/vgg.pth", "vgg_sha256": "0"},
        "start_from": f"{HOME}/srresnet",
        "start_networks": {"generator": f"generator of {HOME}/srresnet, step 5"},
        "places": places | {"start_from": f"{HOME}/srresnet"},
    }
    trained.run.write_config(config.model_copy(update=changed))
    command = shlex.join(["ganforge", "train", "srgan", f"--data={HOME}/acme", "--from", "../alice/srresnet"])
    line = {"kind": "start", "step": 0, "command": command, "machine": "CPU"}
    (path / LOG).write_text(json.dumps(line) + "\n")
    protocol = {
        "weights": trained.resolve_weights("ema"),
        "step": 1,
        "reference": f"{HOME}/acme test, 100 images",
        "pairs": "100 images of /home/alice/other test",
    }
    store_evaluation(path, [{"name": "psnr", "value": 21.5, "protocol": protocol}])
    return trained


def test_no_exported_file_names_a_folder_of_the_machine(tmp_path: Path) -> None:
    trained = with_paths(tmp_path / "run")
    write_hub(trained, tmp_path / "shared")
    write_shipped(trained, tmp_path / "shipped", "shipped")
    for folder in ("shared", "shipped"):
        for name, content in files_of(tmp_path / folder).items():
            assert b"/home/" not in content, name
            assert b"alice" not in content, name
            assert b"my clients" not in content, name
        config = ganforge.load(tmp_path / folder, device="cpu").run.config
        assert (config.data.data, config.data.sources) == ("acme", "acme-sources")
        assert config.config["vgg_weights"] == "vgg.pth"
    card = (tmp_path / "shared" / "README.md").read_text("utf-8")
    assert "`ganforge train srgan --data=acme --from srresnet`" in card
    assert "| psnr | 21.5 |" in card
    assert "reference: acme test, 100 images" in card
    (evaluation,) = read_evaluations(tmp_path / "shipped")[0]
    assert evaluation.scores[0]["protocol"]["pairs"] == "100 images of other test"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("mnist", "mnist"),
        ("hf:owner/faces", "hf:owner/faces"),
        ("hf:/home/alice/faces", "faces"),
        ("sentence:owner/model", "sentence:owner/model"),
        ("celeba:/home/alice/celeba", "celeba"),
        ("~alice/faces/", "faces"),
    ],
)
def test_names_are_no_paths(place: str, name: str) -> None:
    assert name_of(place) == name


def test_texts_and_commands_keep_all_else(tmp_path: Path) -> None:
    config = untrained(tmp_path / "run", "dcgan").run.config
    for text, kept in (
        ("test | 16/16 images / https://example.org/a, and/or 1 / 2", None),
        ("ganforge.train('dcgan', '/home/alice/faces', ...)", "ganforge.train('dcgan', 'faces', ...)"),
        ("~/faces train and ../../faces/2 test", "faces train and 2 test"),
    ):
        assert text_without_paths(text, config) == (text if kept is None else kept)
    command = "ganforge train dcgan --data hf:owner/faces --size 48x64 --run /k=v/a"
    assert command_without_paths(command, config) == command.replace("/k=v/a", "a")
