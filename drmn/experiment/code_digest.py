"""Digest of the code that decides a trial's result: a study resumes with no other."""

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeGuard

PACKAGE_ROOT = Path(__file__).parents[2]
DECIDE = ("drmn.training.loop", "drmn.search.study.ask_tell")
"""Modules that train, validate, and choose the next trial; their imports of ours count too."""


def digest(modules: tuple[str, ...] = DECIDE, root: Path = PACKAGE_ROOT) -> str:
    """Return a digest of the code of `modules` and of all in our package that they import.

    It is taken of syntax trees in which a name imported from a module of ours is the digest of that
    module. So docstrings, comments, layout, the wording of errors, and the names and places of
    modules do not count. A changed constant, operator or definition does, however far down, and so
    does the same name imported from another module.

    Args:
        modules: Dotted names, such as `drmn.training.loop`.
        root: The folder that holds the package.
    """
    return _digest(modules, root, tuple(_states(root)))


def _states(root: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield each module's file with its time of change and size."""
    for file in sorted((root / "drmn").rglob("*.py")):
        state = file.stat()
        yield file, state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _digest(modules: tuple[str, ...], root: Path, states: tuple[tuple[Path, int, int], ...]) -> str:
    """Return the digest of modules whose files are in these `states`: a job asks several times."""
    del states

    @cache
    def of_module(name: str) -> str:
        tree = ast.parse(_file(name, root).read_bytes())
        names = dict(_imported(tree, root, of_module))
        return _hash(ast.dump(_Decisive(names).visit(tree)))

    return _hash("".join(of_module(name) for name in modules))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(module: str, root: Path) -> Path:
    folder = root / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _imported(
    tree: ast.Module, root: Path, of_module: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    """Yield the names that a module imports from ours, and the digest that replaces each."""
    for node in ast.walk(tree):
        if not _is_of_ours(node):
            continue
        for alias in node.names:
            module = f"{node.module}.{alias.name}"
            if _file(module, root).is_file():
                stands_for = of_module(module)
            else:
                stands_for = f"{of_module(str(node.module))}.{alias.name}"
            yield alias.asname or alias.name, stands_for


def _is_of_ours(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "drmn"


class _Decisive(ast.NodeTransformer):
    """Reduces a module's syntax tree to what decides a result."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replace a name imported from a module of ours by its digest."""
        return ast.Name(self.names.get(node.id, node.id), node.ctx)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Drop the imports of ours: their names say where each comes from."""
        return None if _is_of_ours(node) else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Drop docstrings, those of fields too."""
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Drop an error's wording."""
        for each in ast.walk(node):
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                each.value = ""
        return self.generic_visit(node)
