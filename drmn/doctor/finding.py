"""What a look at one thing came to."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    found: str
    remedy: str = ""
    """What to do about it; empty if it is well."""

    @property
    def ok(self) -> bool:
        """Whether it is well."""
        return not self.remedy

    def __str__(self) -> str:
        """Return a line for people."""
        if self.ok:
            return f"ok       {self.name}: {self.found}"
        return f"problem  {self.name}: {self.found}; {self.remedy}"
