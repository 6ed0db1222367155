"""How often a confirmation claims a clear winner wrongly, and how often it finds a real one.

Studies are simulated: values of candidates on blocks, with a part that a block has in common and
noise of each candidate. Where all settings are equal each claim of a clear winner is false. Beside
the protocol stand two habits: taking the best of the search as the winner, and a t test after each
block.
"""

import statistics
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from bars import Bar, arguments, finish
from scipy.stats import ttest_rel

from drmn.final.confirm import SELECTION, interval, judge

STUDIES, QUICK = 1_000, 100
MOST = SELECTION + 10
Chance = np.random.Generator
Noise = Callable[[Chance, int, int], np.ndarray]
POWER = {1.0: 0.5, 1.5: 0.93}
"""Gap in standard deviations of the paired difference, and how often it is to be found."""


def gaussian(chance: Chance, candidates: int, blocks: int) -> np.ndarray:
    """Return normal noise."""
    return chance.normal(size=(candidates, blocks))


def heavy(chance: Chance, candidates: int, blocks: int) -> np.ndarray:
    """Return noise of heavy tails, Student's t of 3 degrees of freedom, at variance 1."""
    return chance.standard_t(3, size=(candidates, blocks)) / np.sqrt(3)


def unequal(chance: Chance, candidates: int, blocks: int) -> np.ndarray:
    """Return normal noise whose spread differs between candidates by up to three times."""
    spread = np.linspace(0.5, 1.5, candidates)[:, None]
    return spread * chance.normal(size=(candidates, blocks))


NOISES: dict[str, Noise] = {"gaussian": gaussian, "heavy tails": heavy, "unequal": unequal}


def simulated(chance: Chance, noise: Noise, candidates: int, gap: float) -> np.ndarray:
    """Return values [candidate, search and blocks]; the first candidate is better by `gap`.

    Noise has a standard deviation of 1 for each candidate, so that of a difference is the root of
    2; `gap` is in units of that.
    """
    common = chance.normal(scale=2.0, size=MOST + 1)
    values = common + noise(chance, candidates, MOST + 1)
    values[0] += gap * np.sqrt(2)
    return 0.5 + 0.01 * values


def confirmed(values: np.ndarray) -> tuple[bool, int, int]:
    """Return whether a clear winner is claimed, which one, and the trainings that it took."""
    expected = {c: float(row[0]) for c, row in enumerate(values)}
    known: dict[int, list[float]] = {c: [] for c in expected}
    while True:
        verdict = judge(known, expected)
        if not verdict.need:
            return verdict.clear, verdict.leader or 0, sum(map(len, known.values()))
        for candidate in verdict.alive:
            known[candidate] = values[candidate][1 : 1 + verdict.need].tolist()


def peeked(values: np.ndarray) -> bool:
    """Return whether a t test after each block, at 5 %, claims that the leader beats the second."""
    first, second = np.argsort(-values[:, 0])[:2]
    return any(
        ttest_rel(values[first][1 : 1 + n], values[second][1 : 1 + n], alternative="greater").pvalue
        <= 0.05
        for n in range(3, MOST + 1)
    )


def covered(chance: Chance, noise: Noise, studies: int) -> float:
    """Return how often the interval of a mean over ten fresh blocks holds the true one."""
    draws = (noise(chance, 1, 10)[0] for _ in range(studies))
    pairs = (interval(row.tolist()) for row in draws)
    return statistics.mean(bool(low <= 0 <= high) for low, high in pairs)


def main() -> None:
    """Measure, print and judge."""
    asked = arguments(__doc__ or "")
    studies = QUICK if asked.quick else STUDIES
    figures: dict[str, object] = {}
    bars: list[Bar] = []
    for (name, noise), candidates in product(NOISES.items(), (5, 8)):
        chance = np.random.default_rng(candidates)
        drawn = [simulated(chance, noise, candidates, 0.0) for _ in range(studies)]
        claims = [confirmed(values) for values in drawn]
        title = f"{name}, {candidates} equal candidates"
        false = statistics.mean(clear for clear, _, _ in claims)
        figures[f"{title}: false clear winners"] = false
        figures[f"{title}: t test at every look"] = statistics.mean(map(peeked, drawn))
        figures[f"{title}: trainings, mean"] = statistics.mean(n for _, _, n in claims)
        bars.append(Bar(f"{title}: false clear winners", false, 0.05, least=False))
    for gap, wanted in POWER.items():
        chance = np.random.default_rng(100)
        found = [confirmed(simulated(chance, gaussian, 5, gap)) for _ in range(studies)]
        power = statistics.mean(clear and leader == 0 for clear, leader, _ in found)
        figures[f"power at a gap of {gap} sd, 5 candidates"] = power
        two = [confirmed(simulated(chance, gaussian, 2, gap)) for _ in range(studies)]
        power = statistics.mean(clear and leader == 0 for clear, leader, _ in two)
        figures[f"power at a gap of {gap} sd, 2 candidates"] = power
        bars.append(Bar(f"power at a gap of {gap} sd, 2 candidates", power, wanted))
    bars += list(coverage(studies, figures))
    finish(figures, bars, asked.json)


def coverage(studies: int, figures: dict[str, object]) -> Iterator[Bar]:
    """Yield the bars of the interval's coverage."""
    for name in ("gaussian", "heavy tails"):
        value = covered(np.random.default_rng(200), NOISES[name], 4 * studies)
        figures[f"{name}: the 95 % interval holds the mean"] = value
        yield Bar(f"{name}: coverage", value, 0.93)
        yield Bar(f"{name}: coverage, at most", value, 0.975, least=False)


if __name__ == "__main__":
    main()
