"""A reader of pickled arrays of numbers that unpickles nothing.

`pickle` calls whatever a file names, and even of NumPy's names alone some crash the process when
they are called with made-up arguments. Here the opcodes of a file are followed by hand: what NumPy
writes of an array of plain numbers is understood, and anything else is refused.
"""

import codecs
import io
import math
import pickletools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

MOST_VALUES = 50_000_000
"""Numbers that a file may hold."""
PLAIN = re.compile(r"[fiu][1248]")
"""Kinds of numbers: floating-point, signed and unsigned."""


class NotNumbersError(ValueError):
    """A pickle holds something other than an array of plain numbers."""


class _Global(NamedTuple):
    name: str


class _DType:
    """A dtype that a pickle makes: its kind, and then its byte order."""

    def __init__(self, kind: str) -> None:
        self.kind, self.order = kind, "|"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(("<" if self.order == "|" else self.order) + self.kind)


class _Array:
    """An array that a pickle makes: empty, and then filled by a state."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


class _Mark:
    """The mark opcode, on the stack."""


OPCODES = {each.code.encode("latin1"): each for each in pickletools.opcodes}
CORES = ("numpy.core", "numpy._core")
KNOWN = {
    **{f"{core}.multiarray._reconstruct": "reconstruct" for core in CORES},
    **{f"{core}.multiarray.scalar": "scalar" for core in CORES},
    **{f"{core}.numeric._frombuffer": "frombuffer" for core in CORES},
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
    **{f"{core}.bytes": "bytes" for core in ("__builtin__", "builtins")},
}
"""All that a pickled array names, by NumPy 1's and NumPy 2's modules, and what it is here."""


def loads(content: bytes) -> Any:
    """Return the array, or the list of rows, that a pickle holds.

    Raises:
        NotNumbersError: It holds anything else, or is damaged; says what.
    """
    try:
        return _plain(_Machine(io.BytesIO(content)).run())
    except NotNumbersError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as problem:
        raise NotNumbersError(f"it is damaged: {problem}") from None


class _Machine:
    """The stack and memo of a pickle, whose opcodes are followed one after another."""

    def __init__(self, file: io.BytesIO) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what is on the stack at the end."""
        while True:
            name, argument = self._next()
            if name == "STOP":
                return self.stack.pop()
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _DONE:
                _DONE[name](self, argument)
            else:
                raise NotNumbersError(f"it has the opcode {name}")

    def _next(self) -> tuple[str, Any]:
        code = self.file.read(1)
        known = OPCODES.get(code)
        if not code or known is None:
            raise NotNumbersError("it ends before its end" if not code else "it is no pickle")
        if known.name == "STRING":  # of Python 2: any bytes, quoted and escaped
            line = self.file.readline().strip()
            if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
                raise NotNumbersError("it has a string without quotes")
            return known.name, codecs.escape_decode(line[1:-1])[0].decode("latin1")
        return known.name, known.arg.reader(self.file) if known.arg else None

    def items(self) -> list[Any]:
        """Take and return what is above the last mark."""
        place = max(n for n, each in enumerate(self.stack) if isinstance(each, _Mark))
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def take(self, count: int) -> tuple[Any, ...]:
        """Take and return so many items of the top, the lowest first."""
        if count > len(self.stack):
            raise NotNumbersError("it is damaged: its stack is empty")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return tuple(found)


def _global(machine: _Machine, module: str, name: str) -> None:
    whole = f"{module}.{name}"
    if whole not in KNOWN:
        raise NotNumbersError(f"it calls {whole}")
    machine.stack.append(_Global(KNOWN[whole]))


def _reduce(machine: _Machine) -> None:
    called, given = machine.take(2)
    if not isinstance(called, _Global) or not isinstance(given, tuple):
        raise NotNumbersError("it calls what is no function")
    machine.stack.append(_call(called.name, given))


def _call(name: str, given: tuple[Any, ...]) -> Any:
    """Return what NumPy's functions return for these arguments, or refuse them."""
    match name, given:
        case "reconstruct", (_Global("ndarray"), _, _):
            return _Array()
        case "dtype", (str(kind), *_) if PLAIN.fullmatch(kind):
            return _DType(kind)
        case "encode", (str(text), "latin1" | "latin-1"):
            return text.encode("latin1")
        case "bytes", ():
            return b""
        case "scalar", (_DType() as of, bytes() | str() as raw):
            return _filled(of, (), raw)[()]
        case "frombuffer", (bytes() | bytearray() as raw, _DType() as of, tuple(shape), "C" | "F"):
            return _filled(of, shape, bytes(raw), fortran=given[3] == "F")
    raise NotNumbersError(f"it calls numpy's {name} with other than an array of plain numbers")


def _build(machine: _Machine) -> None:
    (state,) = machine.take(1)
    made = machine.stack[-1]
    match made, state:
        case _DType(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            made.order = order
        case _Array(), (int(), tuple(shape), _DType() as of, fortran, bytes() | str() as raw):
            made.value = _filled(of, shape, raw, fortran=bool(fortran))
        case _:
            raise NotNumbersError("it sets a state that no array of plain numbers has")


def _filled(
    of: _DType, shape: tuple[Any, ...], raw: bytes | str, *, fortran: bool = False
) -> np.ndarray:
    """Return the array of these bytes, which must be as many as its shape needs."""
    content = raw.encode("latin1") if isinstance(raw, str) else raw
    if not all(isinstance(side, int) and 0 <= side <= MOST_VALUES for side in shape):
        raise NotNumbersError(f"its shape is {shape}")
    kind, count = of.numpy(), math.prod(shape)
    if count > MOST_VALUES or count * kind.itemsize != len(content):
        raise NotNumbersError(f"{len(content)} bytes are no array of shape {shape} of {kind}")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _plain(found: Any) -> Any:
    """Return an array, or a list of rows, as NumPy takes it; nothing nested deeper."""
    if isinstance(found, list | tuple):
        return [_row(row) for row in found]
    return _row(found)


def _row(found: Any) -> Any:
    value = found.value if isinstance(found, _Array) else found
    numbers = isinstance(value, list | tuple) and all(
        isinstance(each, int | float | np.generic) for each in value
    )
    if isinstance(value, np.ndarray) or numbers:
        return value
    raise NotNumbersError(f"it holds a {type(value).__name__.strip('_').lower()}")


def _set(machine: _Machine, place: int) -> None:
    machine.memo[place] = machine.stack[-1]


def _appends(machine: _Machine, more: list[Any]) -> None:
    if not isinstance(machine.stack[-1], list):
        raise NotNumbersError("it appends to what is no list")
    machine.stack[-1].extend(more)


def _push(value: Callable[[_Machine, Any], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(value(machine, argument))


_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = (
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_VALUES = frozenset([*_NUMBERS, *_TEXTS, "NONE"])
"""Opcodes that push their argument."""
_GET = _push(lambda machine, place: machine.memo[int(place)])
_DONE: Mapping[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    "MARK": _push(lambda *_: _Mark()),
    "POP": lambda machine, _: machine.take(1),
    "EMPTY_TUPLE": _push(lambda *_: ()),
    "TUPLE": _push(lambda machine, _: tuple(machine.items())),
    "TUPLE1": _push(lambda machine, _: machine.take(1)),
    "TUPLE2": _push(lambda machine, _: machine.take(2)),
    "TUPLE3": _push(lambda machine, _: machine.take(3)),
    "EMPTY_LIST": _push(lambda *_: []),
    "LIST": _push(lambda machine, _: machine.items()),
    "APPEND": lambda machine, _: _appends(machine, list(machine.take(1))),
    "APPENDS": lambda machine, _: _appends(machine, machine.items()),
    "NEWTRUE": _push(lambda *_: True),
    "NEWFALSE": _push(lambda *_: False),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _GET),
    **{n: lambda machine, p: _set(machine, int(p)) for n in ("PUT", "BINPUT", "LONG_BINPUT")},
    "MEMOIZE": lambda machine, _: _set(machine, len(machine.memo)),
    "GLOBAL": lambda machine, both: _global(machine, *both.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: _global(machine, *map(str, machine.take(2))),
    "REDUCE": lambda machine, _: _reduce(machine),
    "BUILD": lambda machine, _: _build(machine),
}
"""What each other opcode does."""
