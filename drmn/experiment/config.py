"""Settings that a run and a search share."""

import re
from dataclasses import dataclass

from drmn.errors import ConfigError
from drmn.fields import require

MAX_NAME_BYTES = 200
"""Bytes of a study's name: a folder's may have 255, and a run is named after study and trial."""


def require_name(kind: str, name: str) -> None:
    """Raise `ConfigError` unless a study or run can have this name: it becomes a folder's."""
    plain = re.fullmatch(r"[\w.+-]+", name) is not None and name.strip(".") != ""
    require(kind, name, plain, "letters, digits and ._+- alone")
    size, most = len(name.encode()), MAX_NAME_BYTES + (20 if kind == "run" else 0)
    if size > most:
        raise ConfigError(f"--{kind} {name[:20]}...: {size} bytes long; give at most {most}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class PicturesConfig:
    """Pictures of where a network looks while it learns."""

    every: int = 5
    """Epochs from one to the next, the last one included; 0 for none."""
    images: tuple[str, ...] = ()
    """Names of images, such as 001.Black_footed_Albatross/Black_Footed_Albatross_0001_796111.jpg;
    by default some of validation classes."""
    attributes: tuple[str, ...] = ()
    """Names of attributes; by default those that add most to each answer."""

    def __post_init__(self) -> None:
        """Check each value."""
        require("pictures.every", self.every, self.every >= 0, "0 or more")


NO_PICTURES = PicturesConfig(every=0)
