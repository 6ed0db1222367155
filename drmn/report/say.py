"""A line on the terminal; nothing heavy is imported for it."""

from rich.console import Console


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)
