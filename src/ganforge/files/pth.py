"""Read tensors that `torch.save` wrote, without unpickling: nothing in the file is ever executed.

Such a file holds a small program for a stack machine and raw numbers. Here the program is only parsed:
dictionaries, tuples, numbers, texts and tensors are known, and any other operation is rejected.
"""

import io
import math
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganforge.errors import UserError

DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
}
REBUILD = "torch._utils _rebuild_tensor_v2"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MARK = object()


class Reference(NamedTuple):
    """A tensor by its place: storage (dtype, key, length), offset, shape and strides."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors by name of the state dictionary in `path`, both of torch's zip form and of the older one.

    Raises UserError where the file cannot be read, is damaged or holds anything but tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return _of_zip(content) if content[:2] == b"PK" else _of_old_form(content)
    except (ValueError, KeyError, IndexError, TypeError, EOFError, struct.error, RuntimeError) as error:
        what = str(error) or type(error).__name__
        raise UserError(
            f"{path} is damaged, or not a file of tensors written by torch.save: {what}"
        ) from error
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _of_zip(content: bytes) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (program,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        references = _references(io.BytesIO(archive.read(program)))
        folder = program.removesuffix("data.pkl")
        keys = {reference.storage[2] for reference in references.values()}
        storages = {key: archive.read(f"{folder}data/{key}") for key in keys}
    return {name: _tensor(reference, storages) for name, reference in references.items()}


def _of_old_form(content: bytes) -> dict[str, Tensor]:
    file = io.BytesIO(content)
    for _ in range(3):  # a magic number, a version, facts of the machine
        _run(file)
    references = _references(file)
    keys, storages = _run(file), {}
    lengths = {r.storage[2]: r.storage[4] * _dtype(r).itemsize for r in references.values()}
    for key in keys:
        struct.unpack("<q", file.read(8))
        storages[key] = file.read(lengths[key])
    return {name: _tensor(reference, storages) for name, reference in references.items()}


def _dtype(reference: Reference) -> torch.dtype:
    return DTYPES[reference.storage[1]]


def _tensor(reference: Reference, storages: dict[str, bytes]) -> Tensor:
    flat = torch.frombuffer(bytearray(storages[reference.storage[2]]), dtype=_dtype(reference))
    if len(flat) < reference.storage[4]:
        raise ValueError("a tensor is cut off")
    last = sum((size - 1) * stride for size, stride in zip(reference.shape, reference.strides, strict=True))
    if reference.offset < 0 or min((0, *reference.strides)) < 0 or math.prod(reference.shape) == 0:
        raise ValueError("a tensor of no numbers, or with strides below 0")
    if reference.offset + last >= len(flat):
        raise ValueError("a tensor reaches beyond its numbers")
    return flat.as_strided(reference.shape, reference.strides, reference.offset).clone()


def _references(file: io.BytesIO) -> dict[str, Reference]:
    tensors = _run(file)
    if not isinstance(tensors, dict) or not all(isinstance(v, Reference) for v in tensors.values()):
        raise ValueError("expected a dictionary of tensors")
    return tensors


def _run(file: io.BytesIO) -> Any:
    """The result of the next program in `file`."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}

    def until_mark() -> list[Any]:
        place = len(stack) - 1 - stack[::-1].index(MARK)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name == "MARK":
            stack.append(MARK)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "GLOBAL"):
            stack.append(argument)
        elif name in ("EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_LIST"):
            stack.append({"EMPTY_TUPLE": (), "EMPTY_DICT": {}, "EMPTY_LIST": []}[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(until_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        else:
            _change(name, stack, until_mark)
    (result,) = stack
    return result


def _change(name: str, stack: list[Any], until_mark: Any) -> None:
    """The operations that change earlier items of the stack."""
    if name == "SETITEMS":
        items = until_mark()
        stack[-1].update(zip(items[::2], items[1::2], strict=True))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1][key] = value
    elif name == "APPENDS":
        items = until_mark()
        stack[-1].extend(items)
    elif name == "APPEND":
        value = stack.pop()
        stack[-1].append(value)
    elif name == "BUILD":  # attributes of the dictionary: versions of modules
        stack.pop()
    elif name == "BINPERSID":
        stack[-1] = ("storage", *stack[-1][1:])
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        if function == "collections OrderedDict":
            stack.append({})
        elif function == REBUILD:
            stack.append(Reference(*arguments[:4]))
        else:
            raise ValueError(f"it calls {function}, which is not a tensor")
    else:
        raise ValueError(f"it holds the operation {name}, which tensors do not need")
