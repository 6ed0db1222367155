"""Classes that ImageNet-1k has too: a backbone that was trained on it knows them by sight.

The proposed splits keep ImageNet's classes out of the test classes (Xian et al.), not out of the
validation classes (docs/protocol.md).
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

SYNSETS, LEMMAS = "imagenet_synsets.txt", "imagenet_synset_to_lemma.txt"
"""Tables of timm: the synsets of ImageNet-1k, and the names of each synset."""


def shared_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the classes that are, by name, classes of ImageNet-1k, or a kind of one, or over one.

    A name matches if it is one of a synset's names or ends with it ("American goldfinch" and
    "goldfinch"), or if one of these ends with it ("elephant" and "Indian elephant").

    Args:
        names: Names of classes as datasets write them: `014.Indigo_Bunting`, `polar+bear`.
    """
    return tuple(name for name in names if _is_shared(words_of(name)))


def words_of(name: str) -> str:
    """Return a class's name as words: without number, in lower case."""
    return " ".join(re.sub(r"[^a-z]+", " ", name.split(".", 1)[-1].lower()).split())


@cache
def _is_shared(name: str) -> bool:
    ours = name.split()
    return any(
        len(ends := min(ours, theirs, key=len)) > 0
        and ours[-len(ends) :] == ends
        and theirs[-len(ends) :] == ends
        for theirs in _imagenet()
    )


@cache
def _imagenet() -> tuple[list[str], ...]:
    """Return the names of ImageNet-1k's classes, each as its words."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:  # it is a requirement of ours
        raise ModuleNotFoundError("timm")
    tables = Path(spec.origin).parent / "data" / "_info"  # read without importing timm: seconds
    wanted = set((tables / SYNSETS).read_text().split())
    rows = (line.split("\t") for line in (tables / LEMMAS).read_text().splitlines())
    return tuple(
        words_of(name).split()
        for synset, names in rows
        if synset in wanted
        for name in names.split(",")
    )
