"""Hostile files of weights: made by hand, and by chance from good ones."""

import io
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator

import torch

_STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ"
_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(%s%s%s%s\x89ccollections\nOrderedDict\n)RtR"


def good(zipped: bool) -> bytes:
    """A good file of two tensors."""
    file = io.BytesIO()
    state = OrderedDict(weight=torch.arange(12.0).view(3, 4), steps=torch.tensor([3]))
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def integer(value: int) -> bytes:
    """The operation that puts a number on the stack."""
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def one_tensor(shape: tuple[int, ...], strides: tuple[int, ...], length: int = 4, offset: int = 0) -> bytes:
    """The program of a dictionary with one tensor over the storage `0`."""
    parts = [b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, strides)]
    tensor = _TENSOR % (_STORAGE % integer(length), integer(offset), *parts)
    return b"\x80\x02}X\x01\x00\x00\x00a" + tensor + b"s."


def archive(program: bytes, storage: bytes = b"\0" * 16, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with a program and its storage."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("archive/data.pkl", program)
        made.writestr("archive/data/0", storage)
    return file.getvalue()


def _doubled(depth: int) -> bytes:
    """A tuple of the same two tuples, and so on: nothing in the file, endless to look through."""
    return b")" + b"q\x00h\x00h\x00\x86" * depth


class _Evil:
    def __init__(self, call: object, *arguments: object) -> None:
        self._reduced = call, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self._reduced


def _evil(zipped: bool, call: object, *arguments: object) -> bytes:
    file = io.BytesIO()
    torch.save({"a": _Evil(call, *arguments)}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def by_hand() -> dict[str, bytes]:
    """Files by what is wrong with them."""
    import os
    import subprocess
    import webbrowser

    files = {
        "repeated": archive(one_tensor((2**30,), (0,))),
        "repeated in two": archive(one_tensor((2**15, 2**15), (0, 0))),
        "zeros in a small zip": archive(
            one_tensor((2**24,), (1,), 2**24), bytes(2**26), zipfile.ZIP_DEFLATED
        ),
        "compressed": archive(one_tensor((4,), (1,)), bytes(16), zipfile.ZIP_DEFLATED),
        "negative stride": archive(one_tensor((2,), (-1,))),
        "negative shape": archive(one_tensor((-2,), (1,))),
        "negative offset": archive(one_tensor((2,), (1,), 4, -1)),
        "beyond": archive(one_tensor((5,), (1,))),
        "huge offset": archive(one_tensor((2,), (1,), 4, 10**60)),
        "huge shape": archive(one_tensor((10**60,), (0,))),
        "huge stride": archive(one_tensor((2,), (10**60,))),
        "huge length": archive(one_tensor((4,), (1,), 10**60)),
        "ranks differ": archive(one_tensor((2, 2), (1,))),
        "empty shape": archive(one_tensor((0,), (1,))),
        "no program": archive(b""),
        "no storage": archive(one_tensor((4,), (1,)).replace(b"\x01\x00\x00\x000X", b"\x01\x00\x00\x009X")),
        "setitems of a number": archive(b"\x80\x02K\x01(X\x01\x00\x00\x00aK\x01u."),
        "setitem of a number": archive(b"\x80\x02K\x01X\x01\x00\x00\x00aK\x01s."),
        "appends of a number": archive(b"\x80\x02K\x01(K\x01e."),
        "append of a number": archive(b"\x80\x02K\x01K\x01a."),
        "reduce of nothing": archive(b"\x80\x02R."),
        "mark missing": archive(b"\x80\x02K\x01t."),
        "persistent number": archive(b"\x80\x02K\x01Q."),
        "two results": archive(b"\x80\x02K\x01K\x01."),
        "doubled": archive(b"\x80\x02" + _doubled(200) + b"."),
        "doubled key": archive(b"\x80\x02}" + _doubled(200) + b"K\x01s."),
        "doubled function": archive(b"\x80\x02" + _doubled(200) + b")R."),
        "doubled storage": archive(
            b"\x80\x02}X\x01\x00\x00\x00a"
            + _TENSOR % (_doubled(200), integer(0), _doubled(200), _doubled(200))
            + b"s."
        ),
        "deep": archive(b"\x80\x02" + b")" + b"\x85" * 200_000 + b"."),
        "marks": archive(b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b"."),
        "long text": archive(b"\x80\x02X\xff\xff\xff\x7f."),
        "unpickled alone": pickle.dumps(_Evil(os.system, "touch executed")),
        "numpy": b"\x93NUMPY\x01\x00" + bytes(100),
        "empty": b"",
        "tar": b"sys_info" + bytes(504),
        "old lengths": struct.pack("<q", 2**62) * 20,
    }
    for zipped in (True, False):
        kind = "zip" if zipped else "old"
        files[f"system {kind}"] = _evil(zipped, os.system, "touch executed")
        files[f"popen {kind}"] = _evil(zipped, subprocess.Popen, ["touch", "executed"])
        files[f"eval {kind}"] = _evil(zipped, eval, "open('executed', 'w')")
        files[f"browser {kind}"] = _evil(zipped, webbrowser.open, "http://localhost")
    return files


def by_chance(count: int, seed: int) -> Iterator[bytes]:
    """Good files with some bytes changed, cut out, doubled or cut off."""
    chance = random.Random(seed)
    sources = [good(True), good(False), archive(one_tensor((2, 2), (2, 1)))]
    for number in range(count):
        data = bytearray(sources[number % len(sources)])
        for _ in range(chance.choice((1, 1, 2, 8))):
            place = chance.randrange(len(data))
            kind = chance.randrange(5)
            if kind == 0:
                data[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                data[place] = chance.randrange(256)
            elif kind == 2:
                del data[place : place + chance.choice((1, 4, 64))]
            elif kind == 3:
                data[place:place] = data[place : place + chance.choice((1, 8, 200))]
            else:
                data[place : place + 4] = chance.choice(
                    (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff")
                )
            if not data:
                break
        yield bytes(data)
