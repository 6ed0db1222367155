"""Names for display, and look-up of names that a user gives."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from drmn.errors import ConfigError
from drmn.fields import did_you_mean


def of_attribute(name: str) -> str:
    """Return `has_bill_shape::dagger` as "bill shape: dagger"."""
    return name.removeprefix("has_").replace("::", ": ").replace("_", " ")


def of_class(name: str) -> str:
    """Return `001.Black_footed_Albatross` as "Black footed Albatross"."""
    return re.sub(r"^\d+\.", "", name).replace("_", " ").replace("+", " ")


def class_places(kind: str, asked: Sequence[str], names: Sequence[str]) -> list[int]:
    """Return the places of the `asked` names among `names`.

    Raises:
        ConfigError: One of them is not there.
    """
    where = {name: i for i, name in reversed(list(enumerate(names)))}  # of equals the first
    for name in asked:
        if name not in where:
            # The nearest few: a dataset may have thousands.
            near = dict.fromkeys(get_close_matches(name, names, n=5, cutoff=0.0))
            raise ConfigError(f"Unknown {kind} {name!r}.{did_you_mean(name, near)}")
    return [where[name] for name in asked]
