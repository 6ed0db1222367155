"""Identity of a study or run: what must not change when it resumes."""

from collections.abc import Mapping
from typing import Any

Identity = Mapping[str, Any]
"""Settings and digests that must not change when a study resumes, by name."""
FREE = ("compute.checkpointing", "compute.compile")
"""Settings that may change when a study or run resumes: they change results by rounding alone."""


def refusal(kind: str, name: str, made: Identity, now: Identity) -> str:
    """Return the error message for a study or run with another identity; it says what differs."""
    keys = [key for key in {**made, **now} if made.get(key) != now.get(key)]
    parts = [f"{key} was {made.get(key)!r}, now {now.get(key)!r}" for key in keys[:3]]
    fork = f", with --fork {name} to learn from it" if kind == "study" else ""
    more = f" and {len(keys) - 3} more" if len(keys) > len(parts) else ""
    return (
        f"{kind.capitalize()} {name} was started with other settings: {'; '.join(parts)}{more}. "
        f"Give the old ones to resume it, or --{kind} NAME to start another{fork}."
    )
