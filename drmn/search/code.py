"""Which code decides what a trial comes to: a study goes on with no other."""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DECIDE = ("drmn.train", "drmn.search.study")
"""What trains, validates, and chooses the next trial; with all of ours that these import."""


def digest(modules: tuple[str, ...] = DECIDE, root: Path = ROOT) -> str:
    """Return a digest of the source of `modules` and of all in our package that they import.

    So a change to what is printed or told to MLflow leaves a study as it is, and a change to a
    loss does not.
    """
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if path is not None and name not in found:
            found[name] = path.read_bytes()
            waiting += _imports(found[name])
    text = b"".join(name.encode() + b"\0" + found[name] for name in sorted(found))
    return hashlib.sha256(text).hexdigest()[:16]


def _file(module: str, root: Path) -> Path | None:
    base = root / module.replace(".", "/")
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _imports(source: bytes) -> Iterator[str]:
    """Yield the names in our package that a module imports; some may be no modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "drmn":
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
