"""`ganforge export hub`: a folder of data that loads alone, its card, and the way to and from the hub."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from command import environment, files_of
from huggingface_hub import ModelCard
from untrained import untrained

import ganforge
from ganforge.cli.main import main
from ganforge.errors import UserError
from ganforge.export.card import Licences
from ganforge.export.hub import write_hub
from ganforge.export.package import write_shipped
from ganforge.text.embeddings import embed_texts
from ganforge.text.encoders import LibraryEncoder, open_encoder


def export(place: Path, name: str = "dcgan") -> Path:
    write_hub(untrained(place / "run", name), place / "shared", Licences("apache-2.0", "CC0"))
    return place / "shared"


def test_a_shared_folder_gives_the_same_samples_and_holds_data_only(tmp_path: Path) -> None:
    trained = untrained(tmp_path / "run", "r3gan", conditional=True)
    write_hub(trained, tmp_path / "shared")
    files = ["README.md", "config.json", "model.safetensors", "samples.png"]
    assert sorted(files_of(tmp_path / "shared")) == files
    shared = ganforge.load(tmp_path / "shared", device="cpu")
    assert shared.step == trained.step
    assert torch.equal(shared.sample(4, labels=[1]), trained.sample(4, labels=[1]))
    assert not shared.has_discriminator
    (tmp_path / "shared" / "README.md").unlink()
    (tmp_path / "shared" / "samples.png").unlink()
    assert torch.equal(ganforge.load(tmp_path / "shared").sample(2), trained.sample(2))


def test_an_encoder_of_captions_goes_along(tmp_path: Path) -> None:
    untrained(tmp_path / "run" / "text_encoder", "text_encoder", embedding_size=12)
    (tmp_path / "run" / "text_encoder").rename(tmp_path / "encoder")
    (tmp_path / "run").rmdir()
    trained = untrained(tmp_path / "run", "gan_cls")
    (tmp_path / "encoder").rename(tmp_path / "run" / "text_encoder")
    write_hub(trained, tmp_path / "shared")
    (tmp_path / "run").rename(tmp_path / "gone")
    shared = ganforge.load(tmp_path / "shared", device="cpu")
    before = embed_texts(ganforge.load(tmp_path / "gone", device="cpu"), ["a b c"])
    assert torch.equal(embed_texts(shared, ["a b c"]), before)


@pytest.mark.parametrize(
    ("model", "kept"), [("owner/model", "owner/model"), ("/home/alice/all models/mine", "mine")]
)
def test_a_model_of_a_library_goes_along_by_its_name(tmp_path: Path, model: str, kept: str) -> None:
    trained = untrained(tmp_path / "run", "gan_cls")
    LibraryEncoder(model).keep(tmp_path / "run" / "text_encoder")
    write_hub(trained, tmp_path / "shared")
    write_shipped(trained, tmp_path / "shipped", "shipped")
    for folder in ("shared", "shipped"):
        encoder = open_encoder(str(tmp_path / folder))
        assert isinstance(encoder, LibraryEncoder)
        assert encoder.model == kept


def test_the_card_is_one_that_the_hub_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = untrained(tmp_path / "run", "dcgan")
    log = [
        {
            "kind": "start",
            "step": 0,
            "command": "ganforge train dcgan --data /home/me/images",
            "machine": "CPU",
        },
        {"kind": "train", "step": 1, "seconds": 90.0},
    ]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    score = {
        "name": "fid",
        "value": 12.5,
        "unit": "",
        "protocol": {"step": 1, "weights": "ema", "reference": "test | 100 images"},
    }
    (tmp_path / "run" / "evaluations").mkdir()
    (tmp_path / "run" / "evaluations" / "a.json").write_text(json.dumps({"date": "", "scores": [score]}))
    write_hub(trained, tmp_path / "shared", Licences("apache-2.0", "CC BY 4.0"), "me/images")
    card = ModelCard.load(tmp_path / "shared" / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "apache-2.0"
    assert data["library_name"] == "ganforge"
    assert data["pipeline_tag"] == "unconditional-image-generation"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("fid", 12.5, "images")
    for text in ("CC BY 4.0", "`ganforge train dcgan --data images`", "minutes of training: 1.5",
                 "hf:me/images",
                 "| fid | 12.5 |", "test / 100 images", "## Limits", "![samples](samples.png)"):  # fmt: skip
        assert text in card.text
    assert "/home/me" not in card.content


def test_mistakes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    untrained(tmp_path / "run", "dcgan")
    assert main(["export", "run", "hub", "out"]) == 0
    capfd.readouterr()
    before = files_of(tmp_path)
    for words, said in (
        (["export", "hub", "run", "out"], "out exists"),
        (["export", "hub", "run", "new", "--push", "me/name"], "set HF_TOKEN"),
        (["export", "hub", "run", "new", "--push", "https://me/name"], "expected owner/name"),
        (["sample", "hf:../../etc"], "expected owner/name"),
        (["resume", "out"], "start a new run with --from out"),
        (["export", "package", "run", "out"], "out exists"),
    ):
        assert main(words) == 2, words
        (line,) = capfd.readouterr().err.splitlines()
        assert said in line
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:6],
        lambda data: b"",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b"__metadata__", b"__metadat__a"),
        lambda data: data.replace(b'\\"step\\": 1', b'\\"step\\":-1'),
        lambda data: b"\x80\x04cos\nsystem\n(S'touch executed'\ntR.",
    ],
    ids=["half", "start", "empty", "length", "no state", "wrong state", "pickle"],
)
def test_damaged_weights_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], damage: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    file = export(tmp_path) / "model.safetensors"
    changed = damage(file.read_bytes())
    assert changed != file.read_bytes()
    file.write_bytes(changed)
    assert main(["sample", "shared", "--out", "a.png"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "model.safetensors" in line
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "a.png").exists()


def test_a_shared_folder_runs_no_code_of_its_own(tmp_path: Path) -> None:
    shared = export(tmp_path)
    config = json.loads((shared / "config.json").read_text())
    (shared / "config.json").write_text(json.dumps(config | {"system": "evil.module:System"}))
    with pytest.raises(UserError, match="not imported unasked"):
        ganforge.load(shared)
    (shared / "config.json").write_text(json.dumps(config | {"config": config["config"] | {"width": 10**6}}))
    with pytest.raises(UserError, match=r"does not fit its run's config\.json"):
        ganforge.load(shared)
    (shared / "config.json").write_text(json.dumps(config))
    (shared / "model.safetensors").rename(tmp_path / "elsewhere")
    (shared / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="a link out of the run folder"):
        ganforge.load(shared)


def test_a_file_does_not_start_a_download() -> None:
    with pytest.raises(UserError, match="expected a folder"):
        open_encoder("hf:someone/else")


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download and an upload of one model need."""

    files: dict[str, bytes]
    received: dict[str, bytes]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode() if not isinstance(content, bytes) else content
        self.send_response(200)
        for name, value in {"Content-Length": str(len(body)), "X-Request-Id": "1"}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        if "/tree/" in self.path:
            entries = [
                {"type": "file", "path": each, "size": len(content), "oid": "c" * 40}
                for each, content in self.files.items()
            ]
            return self.answer(entries)
        if self.path.startswith("/api/"):
            files = [{"rfilename": each} for each in self.files]
            return self.answer({"id": "me/model", "sha": "a" * 40, "siblings": files})
        inside = self.path.partition("/resolve/")[2].partition("/")[2].partition("?")[0] or name
        self.answer(self.files[inside], {"ETag": f'"{len(self.files[inside])}"', "X-Repo-Commit": "a" * 40})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received[self.path] = body
        assert self.headers["Authorization"] == "Bearer hf_secret"
        if self.path.endswith("/create"):
            return self.answer({"url": f"http://{self.headers['Host']}/me/model"})
        if "preupload" in self.path:
            asked = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                     for f in json.loads(body)["files"]]  # fmt: skip
            return self.answer({"files": asked})
        self.answer(
            {
                "commitUrl": f"http://{self.headers['Host']}/me/model/commit/{'b' * 40}",
                "commitOid": "b" * 40,
                "success": True,
            }
        )


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A server on loopback with `files` in the repository me/model; its address, and what was sent to it."""
    received: dict[str, bytes] = {}
    handler = type("Handler", (Hub,), {"files": files, "received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_to_the_hub_and_back(tmp_path: Path) -> None:
    """By the real client, against a server on loopback."""
    shared = export(tmp_path)
    files = files_of(shared) | {"evil.py": b"raise SystemExit(3)", "pytorch_model.bin": b"\x80\x04."}
    code = (
        "import sys, torch, ganforge\nfrom ganforge.export.hub import push\n"
        "run = ganforge.load('hf:me/model', device='cpu')\nassert run.run.packaged\n"
        "torch.testing.assert_close(run.sample(2), ganforge.load(sys.argv[1], device='cpu').sample(2))\n"
        "push(sys.argv[1], 'me/model')\n"
    )
    with hub(files) as (address, received):
        done = subprocess.run(
            [sys.executable, "-c", code, str(shared)],
            env=environment(HF_ENDPOINT=address, HF_TOKEN="hf_secret", GANFORGE_CACHE=str(tmp_path / "cache"),
                            HF_HOME=str(tmp_path / "hf"), HF_HUB_DISABLE_XET="1", no_proxy="127.0.0.1"),
            capture_output=True,
            text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    downloaded = [p.name for p in (tmp_path / "cache" / "models" / "me" / "model").iterdir() if p.is_file()]
    assert sorted(downloaded) == ["config.json", "model.safetensors"]
    (commit,) = [body for path, body in received.items() if "/commit/" in path]
    for name in files_of(shared):
        assert json.dumps(name).encode() in commit


def test_what_was_shared_can_be_shared_again(tmp_path: Path) -> None:
    """A folder without a discriminator, the package's too, gives folders that load."""
    source: Path | str = "pretrained:digits-dcgan"
    expected = ganforge.load(source, device="cpu").sample(2, seed=3)
    for number in range(2):
        write_hub(ganforge.load(source, device="cpu"), tmp_path / f"hub-{number}")
        write_shipped(ganforge.load(source, device="cpu"), tmp_path / f"package-{number}", "again")
        source = tmp_path / f"hub-{number}"
        for folder in (source, tmp_path / f"package-{number}"):
            again = ganforge.load(folder, device="cpu").sample(2, seed=3)
            torch.testing.assert_close(again, expected, atol=2e-2, rtol=0)  # packages are in float16
