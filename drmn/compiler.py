"""Torch's compiler, imported by who compiles and by nobody else.

`torch._dynamo` takes seconds to import, and torch imports it where nothing is compiled: for
decorators of torchvision and timm, and in every optimizer, for a call that ends a compiled graph.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch  # noqa: F401 - first: the compiler's own modules are then in place

COMPILER = "torch._dynamo"


def is_compile_supported(device: str) -> bool:
    """Return whether the compiler supports a device; it is imported at the first call."""
    from torch._dynamo import utils  # noqa: PLC0415 - the compiler takes seconds to import

    return utils.is_compile_supported(device)


def disable(
    function: Callable[..., Any], recursive: object = None, **_: object
) -> Callable[..., Any]:
    """Return a function as it is: the compiler may trace it."""
    del recursive
    return function


def graph_break(msg: str = "") -> None:
    """Do nothing: outside a compiled graph there is none to break."""
    del msg


def _stand_in() -> dict[str, ModuleType]:
    compiler, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    vars(utils)["is_compile_supported"] = is_compile_supported
    vars(compiler).update(utils=utils, disable=disable, config=SimpleNamespace(), __path__=[])
    return {each.__name__: each for each in (compiler, utils)}


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let imports of a `with` block get a stub of the compiler, unless it is loaded."""
    there = sys.modules.get(COMPILER)
    stand_in = _stand_in() if there is None or isinstance(there, _Deferred) else {}
    sys.modules.update(stand_in)
    try:
        yield
    finally:
        for name in stand_in:
            del sys.modules[name]
        if stand_in and there is not None:
            sys.modules[COMPILER] = there


class _Deferred(ModuleType):
    """The compiler until anything of it is used but what an optimizer calls: then the real one."""

    def __init__(self) -> None:
        super().__init__(COMPILER)
        vars(self).update(disable=disable, graph_break=graph_break)

    def __getattr__(self, name: str) -> Any:
        # Who looks over all modules (inspect, warnings) uses none of them, and may do so while a
        # package is half imported that the compiler imports too. Of a submodule's import it is use.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return getattr(importlib.import_module(COMPILER), name)


def defer_compiler() -> None:
    """Let optimizers of this process do without the compiler until something is compiled."""
    if COMPILER not in sys.modules:
        sys.modules[COMPILER] = _Deferred()
