"""Settings that a run and a search share."""

import re
from dataclasses import dataclass

from drmn.fields import require


def require_name(kind: str, name: str) -> None:
    """Raise `ConfigError` unless a study or run can have this name: it becomes a folder's."""
    plain = re.fullmatch(r"[\w.+-]+", name) is not None and name.strip(".") != ""
    require(kind, name, plain, "letters, digits and ._+- alone")


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
