"""Checkpoints under crashes, rot, full disks and hostile content."""

import builtins
import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from command import environment, files_of

from ganforge.errors import UserError
from ganforge.files.atomic import replace_file
from ganforge.runs.checkpoint import Checkpoint, load_checkpoint, load_newest, save_checkpoint

FILES = ["average.safetensors", "manifest.json", "state.json", "system.safetensors"]


def content(step: int) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    generator = torch.Generator().manual_seed(step)
    system = {
        "weight": torch.randn(3, 4, generator=generator),
        "half": torch.randn(5, generator=generator).to(torch.bfloat16),
        "count": torch.tensor(step),
        "random": torch.randint(0, 256, (16,), dtype=torch.uint8, generator=generator),
    }
    return {"system": system, "average": {"weight": torch.zeros(2)}}, {"step": step, "rates": [0.1, 1e-9]}


def save(folder: Path, step: int, keep: int = 2) -> Path:
    return save_checkpoint(folder, step, *content(step), keep)


def assert_is(checkpoint: Checkpoint | None, step: int) -> None:
    assert checkpoint is not None
    tensors, state = content(step)
    assert checkpoint.state == state
    assert checkpoint.tensors.keys() == tensors.keys()
    for stem, named in tensors.items():
        assert checkpoint.tensors[stem].keys() == named.keys()
        for name, tensor in named.items():
            found = checkpoint.tensors[stem][name]
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    assert path == tmp_path / "000007"
    assert names(path) == FILES
    assert_is(load_checkpoint(path), 7)
    assert_is(load_newest(tmp_path), 7)


def test_nan_and_strided_tensors_are_kept(tmp_path: Path) -> None:
    strided = torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last)
    broken = torch.tensor([float("nan"), float("-inf")])
    save_checkpoint(
        tmp_path, 1, {"system": {"a": strided, "b": broken}}, {"step": 1, "loss": float("inf")}, 1
    )
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded.tensors["system"]["a"], strided)
    assert torch.equal(loaded.tensors["system"]["b"], broken) is False  # NaN is not equal to itself
    assert loaded.tensors["system"]["b"].numpy().tobytes() == broken.numpy().tobytes()
    assert loaded.state["loss"] == float("inf")


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a", 3)
    save(tmp_path / "b", 3)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    save(tmp_path / "b", 4)
    assert files_of(tmp_path / "a/000003") != files_of(tmp_path / "b/000004")


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 11, 1_000_000):
        save(tmp_path, step, keep=3)
    assert names(tmp_path) == ["000010", "000011", "1000000"]
    assert_is(load_newest(tmp_path), 1_000_000)
    save(tmp_path, 1_000_001, keep=1)
    assert names(tmp_path) == ["1000001"]


def test_a_missing_or_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "none") is None
    assert load_newest(tmp_path) is None


def test_a_damaged_newer_one_does_not_push_out_a_good_one(tmp_path: Path) -> None:
    """Resumed at 20 because 30 is damaged, then stopped at 25: 25 must survive, even with keep 1."""
    save(tmp_path, 20)
    (save(tmp_path, 30) / "state.json").unlink()
    save(tmp_path, 25, keep=1)
    assert names(tmp_path) == ["000025"]
    assert_is(load_newest(tmp_path), 25)


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, 20)
    (save(tmp_path, 30) / "state.json").write_bytes(b"")
    save(tmp_path, 30)
    warn: list[str] = []
    assert_is(load_newest(tmp_path, warn), 30)
    assert warn == []


# --- crashes -----------------------------------------------------------------------------------------------


class _TornFile:
    """A file whose writes can be the fatal call; half of the bytes arrive then."""

    def __init__(self, file: Any, fatal: Callable[[], bool]) -> None:
        self._file, self._fatal = file, fatal

    def __enter__(self) -> "_TornFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        if self._fatal():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            os._exit(137)
        return int(self._file.write(data))


def _die_at_call(number: int) -> Callable[[], int]:
    """Make this process die at its `number`-th system call from now on; returns how many there were."""
    calls = 0

    def fatal() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    def guard(function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if fatal():
                os._exit(137)
            return function(*arguments, **options)

        return guarded

    for name in ("fsync", "rename", "replace", "mkdir", "open", "unlink", "rmdir"):
        setattr(os, name, guard(getattr(os, name)))
    plain_open = builtins.open

    def torn_open(*arguments: Any, **options: Any) -> Any:
        if fatal():
            os._exit(137)
        return _TornFile(plain_open(*arguments, **options), fatal)

    builtins.open = torn_open  # type: ignore[assignment]
    return lambda: calls


def _in_child(work: Callable[[], int]) -> int:
    """The exit code of `work` in a forked child, which never returns here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 on: fork beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("situation", ["first", "third", "after a crash", "same step damaged"])
def test_a_crash_at_any_system_call_leaves_the_old_or_the_new(tmp_path: Path, situation: str) -> None:
    template = tmp_path / "template"
    template.mkdir()
    before = () if situation == "first" else (10, 20)
    for step in before:
        save(template, step)
    if situation == "after a crash":
        shutil.copytree(template / "000020", template / "000030.tmp-4711")
    if situation == "same step damaged":
        shutil.copytree(template / "000020", template / "000030")
        (template / "000030/state.json").unlink()

    seen: list[int | None] = []
    for number in range(1, 200):
        folder = tmp_path / f"{number}"
        shutil.copytree(template, folder)

        def work(folder: Path = folder, number: int = number) -> int:
            _die_at_call(number)
            save(folder, 30)
            return 0

        code = _in_child(work)
        assert code in (0, 137)
        found = load_newest(folder, [])
        seen.append(None if found is None else found.state["step"])
        if found is not None:
            assert_is(found, found.state["step"])
        assert seen[-1] in ((30, 20) if before else (30, None))
        if code == 0:
            assert seen[-1] == 30
        save(folder, 40)
        assert_is(load_newest(folder), 40)
        assert not [name for name in names(folder) if not name.isdecimal()]
        assert len(names(folder)) <= 2
        shutil.rmtree(folder)
        if code == 0:
            break
    else:
        pytest.fail("the save never completed")
    # Once the new one is there it stays: no later crash takes it away.
    assert seen == sorted(seen, key=lambda step: step or 0)
    # 4 files of 4 calls each, a folder made, synced and renamed, its parent synced.
    assert number >= 4 * 3 + 5


def test_everything_is_on_the_disk_before_its_name_is_and_its_name_before_older_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power loss: data synced, then renamed, then the rename synced, then the old one deleted."""
    save(tmp_path, 10)
    events: list[str] = []
    plain_fsync, plain_rename, plain_rmtree = os.fsync, os.rename, shutil.rmtree

    def fsync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        events.append(f"sync {name.partition('.tmp-')[0]}")
        plain_fsync(descriptor)

    def rename(old: Path, new: Path) -> None:
        events.append(f"rename to {new.name}")
        plain_rename(old, new)

    def rmtree(path: Path) -> None:
        events.append(f"delete {path.name}")
        plain_rmtree(path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    save(tmp_path, 20, keep=1)
    files = {f"sync {name}" for name in FILES}
    assert set(events[:4]) == files
    assert events[3] == "sync manifest.json"
    assert events[4:] == ["sync 000020", "rename to 000020", f"sync {tmp_path.name}", "delete 000010"]


def test_replace_file_survives_a_crash_at_any_call(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for number in range(1, 50):
        file.write_bytes(b"old content")

        def work(number: int = number) -> int:
            _die_at_call(number)
            replace_file(file, b"the new content")
            return 0

        code = _in_child(work)
        assert file.read_bytes() in (b"old content", b"the new content")
        if code == 0:
            break
    assert file.read_bytes() == b"the new content"
    assert number >= 5


# --- rot ---------------------------------------------------------------------------------------------------


def _damage(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _assert_passed_over(folder: Path, damaged_file: str) -> None:
    warn: list[str] = []
    assert_is(load_newest(folder, warn), 10)
    assert len(warn) == 1
    assert damaged_file in warn[0]
    assert "000020" in warn[0]
    assert "\n" not in warn[0]


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    save(tmp_path, 10)
    newest = save(tmp_path, 20)
    chooser = random.Random(2014)
    sizes = {name: (newest / name).stat().st_size for name in FILES}
    for trial in range(400):
        name = FILES[trial % len(FILES)]
        good = (newest / name).read_bytes()
        flipped = bytearray(good)
        bit = chooser.randrange(8 * sizes[name])
        flipped[bit // 8] ^= 1 << bit % 8
        _damage(newest / name, bytes(flipped))
        # A flip in the manifest may damage it, or the size, hash or name that it gives for another file.
        _assert_passed_over(tmp_path, "damaged" if name == "manifest.json" else name)
        _damage(newest / name, good)
    assert_is(load_newest(tmp_path), 20)


@pytest.mark.parametrize("name", FILES)
def test_truncated_longer_and_missing_files_are_detected(tmp_path: Path, name: str) -> None:
    save(tmp_path, 10)
    newest = save(tmp_path, 20)
    good = (newest / name).read_bytes()
    for length in {0, 1, len(good) // 2, len(good) - 2}:
        _damage(newest / name, good[:length])
        _assert_passed_over(tmp_path, name)
    _damage(newest / name, good + b"x")
    _assert_passed_over(tmp_path, name)
    (newest / name).unlink()
    _assert_passed_over(tmp_path, name)
    (newest / name).mkdir()
    _assert_passed_over(tmp_path, name)


def test_all_damaged_is_said_and_nothing_is_loaded(tmp_path: Path) -> None:
    (save(tmp_path, 10) / "system.safetensors").write_bytes(b"")
    (save(tmp_path, 20) / "manifest.json").unlink()
    with pytest.raises(
        UserError, match=r"no usable checkpoint.*000020.*manifest\.json.*000010.*system"
    ) as caught:
        load_newest(tmp_path)
    assert "\n" not in str(caught.value)


# --- hostile content ---------------------------------------------------------------------------------------


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["GANFORGE_BOMB"],)


def _forge(path: Path, contents: dict[str, bytes]) -> None:
    """A checkpoint of `contents` with a manifest that fits."""
    path.mkdir(parents=True)
    for name, data in contents.items():
        (path / Path(name).name).write_bytes(data)
    manifest = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    }
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "exploded"
    monkeypatch.setenv("GANFORGE_BOMB", str(bomb))
    data = pickle.dumps(_Bomb())
    folder = tmp_path / "checkpoints"
    for stranger in ("evil.pkl", "evil.pt", "data.safetensors", "archive.npy"):
        (save(folder, 10) / stranger).write_bytes(data)
        assert_is(load_newest(folder), 10)  # a file that the manifest does not list is not read
    for listed in ("evil.pkl", "evil.pt", "system.safetensors", "state.json"):
        path = tmp_path / "forged" / "000010"
        _forge(path, {"state.json": b'{"step": 1}', listed: data})
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(path)
        shutil.rmtree(path)
    assert not bomb.exists()
    pickle.loads(data)
    assert bomb.exists()  # the bomb itself works


HOSTILE_MANIFESTS = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{}",
    b"[" * 100_000,
    b'{"state.json": null}',
    b'{"state.json": 7}',
    b'{"state.json": "abc"}',
    b'{"state.json": {"sha256": null}}',
    b'{"state.json": {"bytes": 1, "sha256": ["x"]}}',
    b'{"state.json": {}}',
    b'{"": {"bytes": 1, "sha256": "x"}}',
    b'{".": {"bytes": 1, "sha256": "x"}}',
    b'{"..": {"bytes": 1, "sha256": "x"}}',
    b'{"a\\u0000b": {"bytes": 1, "sha256": "x"}}',
    b'{"\\ud800": {"bytes": 1, "sha256": "x"}}',
    b'{"' + b"x" * 5000 + b'": {"bytes": 1, "sha256": "x"}}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("manifest", HOSTILE_MANIFESTS, ids=range(len(HOSTILE_MANIFESTS)))
def test_a_hostile_manifest_is_a_damaged_checkpoint(tmp_path: Path, manifest: bytes) -> None:
    path = save(tmp_path, 10)
    (path / "manifest.json").write_bytes(manifest)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "../../secret.safetensors", "ABSOLUTE", "..", "x/../../y"]
)
def test_a_manifest_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    secret = safetensors.torch.save({"secret": torch.ones(1)})
    for place in (tmp_path, tmp_path / "run"):
        place.mkdir(exist_ok=True)
        (place / "secret.safetensors").write_bytes(secret)
        (place / "y").write_bytes(secret)
    path = tmp_path / "run" / "000010"
    path.mkdir()
    name = str(tmp_path / "secret.safetensors") if name == "ABSOLUTE" else name
    state = b'{"step": 10}'
    (path / "state.json").write_bytes(state)
    listed = {"state.json": state, name: secret}
    manifest = {
        key: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for key, data in listed.items()
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


HOSTILE_STATES = [b"", b"null", b"[]", b"[1]", b"7", b"{}", b'{"step": "1"}', b"{", b"[" * 100_000, b"\xff"]


@pytest.mark.parametrize("state", HOSTILE_STATES, ids=range(len(HOSTILE_STATES)))
def test_a_forged_state_is_refused(tmp_path: Path, state: bytes) -> None:
    _forge(tmp_path / "000010", {"state.json": state})
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path / "000010")


def test_forged_tensors_are_refused(tmp_path: Path) -> None:
    def header(text: bytes, data: bytes = b"") -> bytes:
        return len(text).to_bytes(8, "little") + text + data

    forged = [
        b"",
        b"\xff" * 8,
        (10**8).to_bytes(8, "little"),
        header(b"{"),
        header(b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4000000000]}}'),
        header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', b"0000"),
        header(b'{"a": {"dtype": "what", "shape": [1], "data_offsets": [0, 4]}}', b"0000"),
    ]
    for index, data in enumerate(forged):
        path = tmp_path / f"{index:06d}"
        _forge(path, {"state.json": b'{"step": 10}', "system.safetensors": data})
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(path)


def test_strange_names_beside_the_checkpoints_do_no_harm(tmp_path: Path) -> None:
    save(tmp_path, 10)
    (tmp_path / "000099").write_bytes(b"a file")
    (tmp_path / "²").mkdir()  # str.isdigit() holds, int() refuses
    (tmp_path / "notes").mkdir()
    assert_is(load_newest(tmp_path), 10)
    save(tmp_path, 20, keep=1)
    assert_is(load_newest(tmp_path), 20)
    assert (tmp_path / "notes").is_dir()


# --- full disks --------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from ganforge.runs.checkpoint import load_newest, save_checkpoint
from ganforge.errors import UserError

folder, limit, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def save(step):
    save_checkpoint(folder, step, {"system": {"w": torch.full((number,), float(step))}}, {"step": step}, 2)

save(10)
before = {p.name: p.read_bytes() for p in (folder / "000010").iterdir()}
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
for _ in range(2):
    try:
        save(20)
    except UserError as error:
        print(error)
    assert [p.name for p in folder.iterdir()] == ["000010"], list(folder.iterdir())
assert {p.name: p.read_bytes() for p in (folder / "000010").iterdir()} == before
assert load_newest(folder).state["step"] == 10
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    save(20)
    assert load_newest(folder).state["step"] == 20
"""


def _fill(folder: Path, limit: int, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder), str(limit), str(number)],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stdout
    for line in lines:
        assert f"no room for the {4 * number / 1e6:.1f} MB" in line
        assert str(folder / "000020") in line
        assert "earlier checkpoints are intact" in line


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    _fill(tmp_path / "checkpoints", limit=100_000, number=100_000)


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk needs root and mount")
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        _fill(disk / "checkpoints", limit=0, number=150_000)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("name", ["fsync", "rename", "mkdir"])
def test_a_failing_disk_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save(tmp_path, 10)

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fail)
        with pytest.raises(UserError, match=r"cannot write .*000020 \(Input/output error\)"):
            save(tmp_path, 20)
    assert names(tmp_path) == ["000010"]
    save(tmp_path, 20)
    assert_is(load_newest(tmp_path), 20)
