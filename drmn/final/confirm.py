"""Confirmation of a search's best settings: a paired comparison on fresh blocks.

A block is a random division of trainval's classes with a seed: each candidate is trained on each,
so that differences are of one block. The leader is frozen after the first blocks; then only later
ones count, at two looks, by an exact sign-flip test against each rival (intersection-union: no
correction for their number). The levels of the looks sum to less than 5 %.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SELECTION = 2
"""Blocks by which, with the search's own value, the leader is chosen; they count for no test."""
LOOKS: Mapping[int, float] = {6: 1 / 64, 10: 0.034}
"""Fresh blocks of each look, and the level of its tests."""
DROP_AT = 2
"""Fresh blocks after which rivals that are clearly behind are dropped; the strongest never is."""
CLEARLY = 2.0
"""Standard errors that it is then behind by, at least; and it was behind on every block."""
STAKES = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""Stakes of the running evidence, in parts of 1 of the objective."""

Values = Mapping[int, Sequence[float]]
"""The objective of each candidate on the blocks 1, 2, ... as far as it was trained there."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A candidate beside the leader, on the fresh blocks that both were trained on."""

    candidate: int
    differences: tuple[float, ...]
    """Leader minus rival."""
    p: float
    """One-sided p of the exact sign-flip test; 1 without a block."""
    evidence: float
    """Running evidence that the leader is better: valid at any time, 20 is strong."""
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the blocks so far say."""

    leader: int | None
    """The candidate that all rivals are compared with; None before it is frozen."""
    rivals: tuple[Rival, ...] = ()
    need: int = 0
    """Blocks, selection included, that the candidates in `alive` need next; 0 if none."""
    alive: tuple[int, ...] = ()
    clear: bool = False
    """Whether the leader beats each rival that was not dropped."""
    unbeaten: tuple[int, ...] = field(default=())
    """Candidates that the leader does not beat, itself among them: a tie, if more than one."""


def judge(values: Values, expected: Mapping[int, float], most: int = 10) -> Verdict:
    """Return the verdict on what is known, or which blocks it needs.

    Args:
        values: The objective on the blocks.
        expected: The search's own value of each candidate.
        most: Fresh blocks at most.
    """
    every = tuple(sorted(values))
    if any(len(values[c]) < SELECTION for c in every):
        return Verdict(None, need=SELECTION, alive=every)
    leader = max(every, key=lambda c: (statistics.mean([expected[c], *values[c][:SELECTION]]), -c))
    looks = sorted({DROP_AT, *LOOKS, most} & set(range(1, most + 1)))
    alive = every
    for fresh in looks:
        need = SELECTION + fresh
        if any(len(values[c]) < need for c in alive):
            return Verdict(leader, need=need, alive=alive)
        rivals = [_rival(values, leader, c, fresh) for c in alive if c != leader]
        if fresh == DROP_AT and len(alive) > 2:
            alive = _kept(values, leader, alive)
        found = _decided(rivals, fresh, last=fresh == looks[-1])
        if found is not None:
            return _verdict(values, leader, found)
    return _verdict(values, leader, (leader,) if len(every) == 1 else every)


def _decided(rivals: Sequence[Rival], fresh: int, *, last: bool) -> tuple[int, ...] | None:
    """Return the rivals that are not beaten, if this look ends the confirmation."""
    level = LOOKS.get(fresh, 0.0)
    unbeaten = tuple(each.candidate for each in rivals if each.p > level)
    if last or not rivals:
        return unbeaten
    if fresh not in LOOKS:
        return None
    # A rival that is ahead of the leader will hardly be beaten by more blocks: it is a tie.
    behind = any(statistics.mean(each.differences) <= 0 for each in rivals)
    return unbeaten if not unbeaten or behind else None


def _verdict(values: Values, leader: int, unbeaten: Sequence[int]) -> Verdict:
    shared = {c: len(values[c]) - SELECTION for c in values}
    rivals = tuple(
        _rival(values, leader, c, shared[c], dropped=shared[c] < shared[leader])
        for c in sorted(values)
        if c != leader
    )
    tied = tuple(sorted({leader, *unbeaten}))
    return Verdict(leader, rivals, clear=len(tied) == 1 and len(values) > 1, unbeaten=tied)


def _rival(values: Values, leader: int, rival: int, fresh: int, *, dropped: bool = False) -> Rival:
    pairs = zip(values[leader][SELECTION:], values[rival][SELECTION:], strict=False)
    apart = tuple(one - other for one, other in itertools.islice(pairs, fresh))
    return Rival(rival, apart, sign_flip(apart), evidence(apart), dropped)


def _kept(values: Values, leader: int, alive: Sequence[int]) -> tuple[int, ...]:
    """Return the candidates without the rivals that are clearly behind; one of these stays."""
    count = SELECTION + DROP_AT

    def behind(rival: int) -> bool:
        apart = [a - b for a, b in zip(values[leader][:count], values[rival][:count], strict=True)]
        error = statistics.stdev(apart) / math.sqrt(len(apart))
        return min(apart) > 0 and statistics.mean(apart) > CLEARLY * error

    rivals = [c for c in alive if c != leader]
    best = max(rivals, key=lambda c: statistics.mean(values[c][:count]))
    return tuple(c for c in alive if c in (leader, best) or not behind(c))


def sign_flip(differences: Sequence[float]) -> float:
    """Return the one-sided p of the exact sign-flip test that the mean difference is not above 0.

    Under the null hypothesis each difference is as likely to have the other sign, whatever its
    distribution. Exact for up to 20 differences; ties with what was observed count against it.
    """
    if not differences:
        return 1.0
    sums = np.zeros(1)
    for each in differences:
        sums = np.concatenate([sums + abs(each), sums - abs(each)])
    return float(np.mean(sums >= sum(differences) - 1e-12))


def evidence(differences: Sequence[float]) -> float:
    r"""Return the mean over stakes $\lambda$ of $\prod (1 + \tanh(\lambda |d|)\,\mathrm{sign}\,d)$.

    The wealth of a bettor on the sign of each difference: under the null hypothesis it is 1 on
    average at any time, so that it exceeds 20 at some time in less than 5 % of comparisons.
    """
    total = 0.0
    for stake in STAKES:
        total += math.prod(1 + math.tanh(stake * d) for d in differences)
    return total / len(STAKES)


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return Student's t interval for the mean of a few values; infinite for fewer than two."""
    from scipy.stats import t  # noqa: PLC0415 - a second, needed at the end alone

    if len(values) < 2:
        return -math.inf, math.inf
    error = statistics.stdev(values) / math.sqrt(len(values))
    far = float(t.ppf((1 + level) / 2, len(values) - 1)) * error
    return statistics.mean(values) - far, statistics.mean(values) + far
