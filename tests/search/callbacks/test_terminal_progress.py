"""The view of a running search."""

from io import StringIO

from rich.console import Console

from drmn.search.callbacks.terminal_progress import TerminalProgress


def test_the_line_to_beat_is_named():
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with TerminalProgress(console, "study", 4, "val/H", "cosine", 0.512):
        pass
    assert "no complete trial yet; to beat: cosine 51.2" in text.getvalue()
