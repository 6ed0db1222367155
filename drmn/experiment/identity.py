"""Identity of a study or run: what must not change when it resumes."""

from collections.abc import Mapping
from typing import Any

from drmn.flags import flag

Identity = Mapping[str, Any]
"""Settings and digests that must not change when a study resumes, by name."""
FREE = ("compute.checkpointing", "compute.compile")
"""Settings that may change when a study or run resumes: they change results by rounding alone."""
BASE, GIVEN = "base.", "given."
"""Prefixes of a search's settings: all of them, and those given in place of the space's."""
NO_FLAGS = {
    "data": "the data or features (--dataset, --data-root, --backbone, ...)",
    "code": "the code that trains",
    "space_digest": "the text of the space",
}
"""Parts of an identity that no flag sets, in words."""
LEFT = "left to the space"


def refusal(kind: str, name: str, made: Identity, now: Identity) -> str:
    """Return the error message for a study or run with another identity; it says what differs."""
    before, after = _by_flag(made, now), _by_flag(now, made)
    flags = [each for each in {**before, **after} if before.get(each) != after.get(each)]
    parts = [
        f"{each} was {before.get(each, 'not given')}, now {after.get(each, 'not given')}"
        for each in flags[:3]
    ]
    fork = f", with --fork {name} to learn from it" if kind == "study" else ""
    more = f" and {len(flags) - 3} more" if len(flags) > len(parts) else ""
    return (
        f"{kind.capitalize()} {name} was started with other settings: {'; '.join(parts)}{more}. "
        f"Give the old ones to resume it, or --{kind} NAME to start another{fork}."
    )


def _by_flag(identity: Identity, other: Identity) -> dict[str, str]:
    """Return the values of an identity by the flags that set them, as they are shown."""
    shown = {}
    for key, value in identity.items():
        setting = key.removeprefix(BASE).removeprefix(GIVEN)
        both = f"{GIVEN}{setting}"
        if not key.startswith(BASE) or both not in {**identity, **other}:
            shown[NO_FLAGS.get(key, flag(setting))] = _quoted(value)
        elif both not in identity:  # the default, of which the space made another value
            shown[flag(setting)] = LEFT
    return shown


def _quoted(value: Any) -> str:
    return repr(value) if value != "" else "empty"
