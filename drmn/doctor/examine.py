"""A look at everything: this machine, or each node of a running cluster."""

import secrets
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from drmn.doctor import checks
from drmn.doctor.finding import Finding
from drmn.doctor.machine import Facts, facts, mark


def here(results: Path, least: int) -> Iterator[Finding]:
    """Yield what a look at this machine came to.

    Args:
        results: Where everything is kept that jobs make.
        least: Bytes that should be free.
    """
    yield from checks.machine(facts(results), least)


def everywhere(results: Path, least: int) -> Iterator[Finding]:
    """Yield what a look at each node came to, and whether they agree. Needs a `cluster`."""
    word = secrets.token_hex(4)
    mark(results, word).parent.mkdir(parents=True, exist_ok=True)
    mark(results, word).write_text(word)
    try:
        every, moments = _asked(results, word)
    finally:
        mark(results, word).unlink()
    well = {where: said for where, said in every.items() if isinstance(said, Facts)}
    for where, said in every.items():
        if isinstance(said, Facts):
            yield from checks.machine(said, least, where)
            yield checks.clock(where, said.now, moments)
        else:
            remedy = "see that it has this project and its packages: `ray up` again"
            yield Finding(name=where, found=f"cannot say how it is ({said})", remedy=remedy)
    yield from checks.alike(well)


def _asked(results: Path, word: str) -> tuple[Mapping[str, Facts | str], tuple[float, float]]:
    """Return what each node says of itself, and between which two moments it was asked."""
    from drmn.cluster.ask_nodes import ask_every_node  # noqa: PLC0415 - Ray takes seconds to import

    question = partial(facts, results.absolute(), word)
    ask_every_node(question)  # the first time processes have to start, which says nothing of clocks
    began = time.time()
    return ask_every_node(question), (began, time.time())
