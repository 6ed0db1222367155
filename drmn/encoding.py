"""Output on a terminal or into a file of any encoding."""

import codecs
import io
import sys
import unicodedata

HANDLER = "drmn-similar"
"""Name of the handler of characters that an encoding lacks."""
SIMILAR = {
    **dict.fromkeys("\u2013\u2014\u2212\u2500\u2501", "-"),  # dashes, minus, lines
    **dict.fromkeys("\u2502\u2503", "|"),
    **dict.fromkeys("\u256d\u256e\u256f\u2570", "+"),  # corners
    "\u00b1": "+-",
    "\u00d7": "x",
    "\u2192": "->",
}


def print_in_any_encoding() -> None:
    """Print characters that the encoding of the output lacks as similar ones, or as "?"."""
    codecs.register_error(HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replace(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    lacking = problem.object[problem.start : problem.end]
    return "".join(map(_similar, lacking)), problem.end


def _similar(character: str) -> str:
    """Return ASCII for a character; the name of a Greek letter, and letters without accents."""
    if character in SIMILAR:
        return SIMILAR[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        return name.split()[-1].lower()
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return plain or "?"
