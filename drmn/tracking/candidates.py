"""Candidates of a packed network: its classes, and more that are known by attributes alone."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from drmn.data.splits.development import Classes
from drmn.errors import ConfigError
from drmn.io.folders import composed


def with_classes(known: Classes, more: Mapping[str, Any]) -> Classes:
    """Return the classes with `more` that have no training images.

    Args:
        known: The classes of a network.
        more: The attributes of each class by its name: a list of all of them in their order, or
            values by attributes' names, 0 for the others. Their scale does not matter.

    Raises:
        ConfigError: A name is taken or unknown, or a row has no length.
    """
    more = {composed(name): given for name, given in more.items()}
    rows = [_row(known, name, given) for name, given in more.items()]
    return replace(
        known,
        names=(*known.names, *more),
        attributes=torch.cat([known.attributes, *rows]),
        seen=torch.cat([known.seen, torch.zeros(len(rows), dtype=torch.bool)]),
    )


def _row(known: Classes, name: str, given: Any) -> Float[Tensor, "1 attr"]:
    names = known.attribute_names
    if name in known.names:
        raise ConfigError(f"class {name!r} is there already; give a new one another name.")
    if isinstance(given, Mapping):
        given = {composed(attribute): value for attribute, value in given.items()}
        for attribute in given:
            if attribute not in names:
                close = get_close_matches(attribute, names, n=1) or names[:1]
                raise ConfigError(
                    f"class {name!r}: there is no attribute {attribute!r}; is it {close[0]!r}?"
                )
        given = [given.get(attribute, 0.0) for attribute in names]
    try:
        row = torch.tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"class {name!r} needs {len(names)} numbers; got others.") from None
    if row.shape != (len(names),) or not row.isfinite().all() or not row.any():
        raise ConfigError(
            f"class {name!r} needs {len(names)} finite attributes, not all 0; got "
            f"{list(row.shape)}."
        )
    return F.normalize(row, dim=0)[None]
