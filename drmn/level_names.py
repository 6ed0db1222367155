"""Names of a backbone's levels: by stride (16), or by block ("b4") where blocks share a stride."""

import re
from collections.abc import Iterable

from drmn.errors import ConfigError
from drmn.fields import require

LevelName = int | str
"""A stride, or "b" and the number of a block, counted from 1; or `CLS`."""
CLS = "cls"
"""The class token that leaves the last block of a transformer: one region, for the global branch.

It comes before all maps, the last of which gives the grid.
"""


def parse_levels(text: str, name: str = "levels") -> tuple[LevelName, ...]:
    """Return the levels that a setting such as "8+16+32" or "b4+b8+b-1" names, lowest first.

    Blocks may be counted from the last one, which is b-1; these stay as they are and come last.

    Raises:
        ConfigError: It names neither strides nor blocks, or both.
    """
    parts = [part for part in text.split("+") if part != CLS] or [""]
    by_stride = all(part.isdecimal() and int(part) > 0 for part in parts)
    by_block = all(re.fullmatch(r"b-?[1-9]\d*", part) for part in parts)
    rule = 'strides joined by "+", such as "16+32", or blocks, such as "b4+b8+b12"'
    require(name, text, by_stride or by_block, rule)
    return in_order({level_of(part) for part in text.split("+")})


def resolve(levels: str, held: str) -> str:
    """Return `levels` with blocks that are counted from the last one by their names in `held`.

    b-1 is the last block that the features hold, b-2 the one before it of those that they hold. One
    that they lack stays as it is.
    """
    asked = parse_levels(levels)
    blocks = [level for level in maps_of(parse_levels(held)) if isinstance(level, str)]
    names = {f"b-{number}": name for number, name in enumerate(reversed(blocks), start=1)}
    if not any(level in names for level in asked):
        return levels
    return join(in_order({names.get(str(level), level) for level in asked}))


def level_of(text: str) -> LevelName:
    """Return the level that `join` wrote as `text`."""
    return int(text) if text.isdecimal() else text


def in_order(levels: Iterable[LevelName]) -> tuple[LevelName, ...]:
    """Return levels from the lowest to the last one."""
    return tuple(sorted(levels, key=_order))


def require_class_token(held: Iterable[LevelName]) -> None:
    """Raise `ConfigError` unless features hold the class token."""
    if CLS not in held:
        have = join(in_order(held))
        raise ConfigError(
            f"model.global_input cls: the features hold {have}, and no class token; make them with "
            f"--levels {CLS}+{have}, or use pooled."
        )


def maps_of(levels: Iterable[LevelName]) -> tuple[LevelName, ...]:
    """Return levels without the class token."""
    return tuple(level for level in levels if level != CLS)


def _order(level: LevelName) -> tuple[bool, int]:
    if level == CLS:
        return False, 0
    number = level if isinstance(level, int) else int(level.removeprefix("b"))
    return number < 0, number


def join(levels: Iterable[LevelName]) -> str:
    """Return levels as a setting names them."""
    return "+".join(map(str, levels))
