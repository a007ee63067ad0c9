"""Read tensors that `torch.save` wrote, without unpickling: nothing in the file is ever executed.

Such a file holds a small program for a stack machine and raw numbers. Here the program is only parsed:
dictionaries, lists, tuples, numbers, texts and tensors are known, and any other operation is rejected. What
is made of a file is not much larger than the file: nothing in it is compressed, and no number is repeated
often.
"""

import io
import math
import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganforge.errors import UserError, printable
from ganforge.files.reading import read_regular

DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
}
REBUILD = "torch._utils _rebuild_tensor_v2"
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MOST_BYTES = 4 * 2**30
MOST_TIMES = 4
"""Times as many bytes as in the file that its tensors may have: some are parts of one storage."""
_DAMAGE = (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, OverflowError, MemoryError,
           NotImplementedError, RecursionError, RuntimeError, struct.error, zlib.error)  # fmt: skip


class Reference(NamedTuple):
    """A tensor by its place: storage (dtype, key, length), offset, shape and strides."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: Path, within: str = "") -> dict[str, Tensor]:
    """The tensors by name of the state dictionary in `path`, both of torch's zip form and of the older one.

    Where the dictionary has another one called `within`, as a checkpoint with an optimizer has, that is read.
    Raises UserError where the file cannot be read, is damaged or holds anything but tensors.
    """
    try:
        content = read_regular(path.resolve(), MOST_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return _of_zip(content, within) if content[:2] == b"PK" else _of_old_form(content, within)
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged: {printable(str(error))[:200]}") from error
    except _DAMAGE as error:
        what = printable((str(error).splitlines() or [""])[0] or type(error).__name__)[:200]
        raise UserError(
            f"{path} is damaged, or not a file of tensors written by torch.save: {what}"
        ) from error


def _of_zip(content: bytes, within: str) -> dict[str, Tensor]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        programs = [name for name in archive.namelist() if name.endswith("data.pkl")]
        if len(programs) != 1:
            raise ValueError("no data.pkl, or several")
        folder = programs[0].removesuffix("data.pkl")
        references, _ = _references(io.BytesIO(_member(archive, programs[0])), within)
        keys = {reference.storage[2] for reference in references.values()}
        members = {key: f"{folder}data/{key}" for key in keys}
        if sum(archive.getinfo(member).file_size for member in members.values()) > len(content):
            raise ValueError("its parts are larger than the whole")
        _check_bytes(references, len(content))
        storages = {key: _member(archive, member) for key, member in members.items()}
    return {name: _tensor(reference, storages) for name, reference in references.items()}


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError("it is compressed, which torch.save does not do")
    return archive.read(name)


def _check_bytes(references: dict[str, Reference], size: int) -> None:
    """Raise ValueError where the tensors have far more bytes than a file of `size` bytes holds."""
    wanted = sum(math.prod(each.shape) * _dtype(each).itemsize for each in references.values())
    if wanted > MOST_TIMES * size:
        raise ValueError(f"its tensors have {wanted:,} bytes, the file {size:,}")


def _of_old_form(content: bytes, within: str) -> dict[str, Tensor]:
    file = io.BytesIO(content)
    for _ in range(3):  # a magic number, a version, facts of the machine
        _run(file)
    references, every = _references(file, within)
    _check_bytes(references, len(content))
    keys, storages = _run(file), {}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("expected a list of storages")
    lengths = {r.storage[2]: r.storage[4] * _dtype(r).itemsize for r in every}
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


def _references(file: io.BytesIO, within: str) -> tuple[dict[str, Reference], list[Reference]]:
    """The tensors of the next program in `file`, or of the dictionary `within` it, and all that it has."""
    result = _run(file)
    if not isinstance(result, dict):
        raise ValueError("expected a dictionary of tensors")
    tensors = result[within] if isinstance(result.get(within), dict) else result
    every = _every_reference(result)
    if not all(isinstance(name, str) for name in tensors):
        raise ValueError("a tensor without a name")
    if not all(map(_is_reference, [*tensors.values(), *every])):
        raise ValueError("expected a dictionary of tensors")
    return tensors, every


def _every_reference(result: Any) -> list[Reference]:
    """All tensors in nested dictionaries, lists and tuples; each of these is looked through once."""
    found, left, seen = list[Reference](), [result], set[int]()
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Reference):
            found.append(item)
        elif isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
    return found


def _is_reference(value: Any) -> bool:
    """Whether `value` is a tensor by its place, and all that this consists of is of the right kind."""
    if not isinstance(value, Reference) or not isinstance(value.storage, tuple) or len(value.storage) < 5:
        return False
    kind, key, length = value.storage[1], value.storage[2], value.storage[4]
    numbers = (value.shape, value.strides, (value.offset, length))
    return (
        isinstance(kind, str)
        and isinstance(key, str)
        and all(isinstance(each, tuple) for each in numbers)
        and all(type(number) is int and number >= 0 for each in numbers for number in each)
    )


def _run(file: io.BytesIO) -> Any:
    """The result of the next program in `file`."""
    stack: list[Any] = []
    marks: list[int] = []  # how high the stack was
    memo: dict[Any, Any] = {}

    def until_mark() -> list[Any]:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name == "MARK":
            marks.append(len(stack))
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in (
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BININT",
            "BININT1",
            "BININT2",
            "LONG1",
            "GLOBAL",
            "BINFLOAT",
        ):
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
    return _only(stack)


def _only(stack: list[Any]) -> Any:
    if len(stack) != 1:
        raise ValueError("its program does not end with one result")
    return stack[0]


def _change(name: str, stack: list[Any], until_mark: Any) -> None:
    """The operations that change earlier items of the stack."""
    if name == "SETITEMS":
        items = until_mark()
        stack[-1].update(zip(_keys(items[::2]), items[1::2], strict=True))
    elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        stack[-1].update({_keys([key])[0]: value})
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
        elif isinstance(function, str):
            raise ValueError(f"it calls {function}, which is not a tensor")
        else:
            raise ValueError("it calls what is no function")
    else:
        raise ValueError(f"it holds the operation {name}, which tensors do not need")


def _keys(keys: list[Any]) -> list[Any]:
    """Keys of a dictionary, texts or whole numbers: tuples of tuples can take for ever to compare."""
    if not all(type(key) in (str, int) for key in keys):
        raise ValueError("a dictionary whose keys are no names")
    return keys
