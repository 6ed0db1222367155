"""Examination of this machine, or of each node of a running cluster."""

import secrets
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from drmn.doctor import checks
from drmn.doctor.finding import Finding
from drmn.doctor.machine import Facts, facts, mark


def here(results: Path, least: int) -> Iterator[Finding]:
    """Yield the findings about this machine.

    Args:
        results: The folder of results.
        least: Bytes that should be free.
    """
    yield from checks.machine(facts(results), least)


def everywhere(results: Path, least: int) -> Iterator[Finding]:
    """Yield the findings about each node, and whether they agree. Needs a `ray_session`."""
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
    """Return the facts of each node, and the two times between which it was asked."""
    from drmn.cluster.ask_nodes import ask_every_node  # noqa: PLC0415 - Ray takes seconds to import

    question = partial(facts, results.absolute(), word)
    ask_every_node(question)  # the first call starts processes, which would blur the clocks' check
    began = time.time()
    return ask_every_node(question), (began, time.time())
