"""Units: durations as text, megabytes."""

MEGABYTE = 1_000_000
"""Bytes."""


def duration(seconds: float) -> str:
    """Return a duration as text, such as "3 min 05 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
