"""Small images on disk for the tests of the data room."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import encode, noise

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def fill(tmp_path: Path) -> Callable[[dict[str, bytes | str | int]], Path]:
    """Writes files into a fresh folder; a number stands for a random colour PNG drawn from it."""

    def write(files: dict[str, bytes | str | int]) -> Path:
        root = tmp_path / "images"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, int):
                content = encode(noise(content))
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[[Path], Path]:
    """Packs a folder's files into a zip next to it."""

    def write(folder: Path) -> Path:
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, file.relative_to(folder).as_posix())
        return path

    return write


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the data sets in {SHARED}, which are not part of the package")
    return SHARED
