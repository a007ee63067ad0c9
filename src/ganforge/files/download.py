"""Downloads into a cache folder, each file checked against a known hash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ganforge.errors import UserError, printable

FASHION_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR10_FILE = "cifar-10-binary.tar.gz"
# The page of the data set publishes only this MD5. It guards against damage, not against forgery; the archive
# is therefore parsed as hostile: nothing is extracted, every length is checked.
CIFAR10_HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"


_offline = ContextVar("offline", default=False)


@contextmanager
def offline() -> Iterator[None]:
    """Within this context what is not here already is refused: a file that asks for it is not its user."""
    token = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(token)


def refuse_offline(what: str) -> None:
    """Raise UserError within `offline`."""
    if _offline.get():
        raise UserError(f"{what} would be downloaded, which is only done when it is named in the command")


def cache_folder() -> Path:
    """The folder of downloads: the environment's GANFORGE_CACHE, or the user's cache folder."""
    chosen = os.environ.get("GANFORGE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganforge"


def fashion_mnist() -> Path:
    """The folder with Fashion-MNIST's four IDX files, downloaded once."""
    folder = cache_folder() / "fashion-mnist"
    for name, digest in FASHION_SHA256.items():
        fetch("fashion-mnist", FASHION_URL, name, f"sha256:{digest}", folder, f"--data {folder}")
    return folder


def cifar10() -> Path:
    """The archive `cifar-10-binary.tar.gz`, downloaded once."""
    folder = cache_folder() / "cifar10"
    fetch("cifar10", CIFAR10_URL, CIFAR10_FILE, CIFAR10_HASH, folder, f"--data {folder / CIFAR10_FILE}")
    return folder / CIFAR10_FILE


def fetch(what: str, url: str, name: str, known_hash: str | None, folder: Path, usage: str) -> None:
    """Download the file `name` of `url` into `folder`, unless it exists; `what` and `usage` are for messages.

    Raises UserError without pooch or network, and for a file with another hash.
    """
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise UserError(
            f"{what} has to be downloaded, which needs pooch: type `pip install 'ganforge[download]'`, or "
            f"put {url}{name} into a folder by hand and give its path with {usage.split()[0]}"
        ) from error
    if not (folder / name).is_file() or not pooch.hashes.hash_matches(folder / name, known_hash):
        refuse_offline(what)
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url + name, known_hash, fname=name, path=folder)
    except Exception as error:  # pooch passes on whatever the network library raises
        reason = printable(" ".join(str(error).split()))[:120]
        raise UserError(
            f"{what} could not be downloaded ({type(error).__name__}: {reason}): without network, put "
            f"{url}{name} into {printable(str(folder))} by hand, then type the same command or "
            f"`{printable(usage)}`"
        ) from error
