"""A finding of the doctor."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Result of one check."""

    name: str
    found: str
    remedy: str = ""
    """What to do about it; empty if the check passed."""

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return not self.remedy

    def __str__(self) -> str:
        """Return a line for people."""
        if self.ok:
            return f"ok       {self.name}: {self.found}"
        return f"problem  {self.name}: {self.found}; {self.remedy}"
