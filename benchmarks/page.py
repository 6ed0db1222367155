"""A study's page: its bytes, and the seconds that drawing it takes, for 1,000 trials.

Trials are simulated: ten searched settings, two thirds of the trials stopped at a rung. The page is
drawn by the code that a search and `jobs/report.py` call, three times; the median counts.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path

import optuna
from bars import Bar, arguments, finish
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from drmn.config import RunConfig
from drmn.fields import flatten
from drmn.report.figures import draw_study
from drmn.search.config import PolicyConfig

RUNG, EPOCHS = 3, 10
NUMBERS = [f"loss.term_{n}" for n in range(7)]
PARTS = [f"model.part_{n}" for n in range(3)]
SPACE: dict[str, BaseDistribution] = {
    **{name: FloatDistribution(1e-4, 1.0, log=True) for name in NUMBERS},
    **{name: CategoricalDistribution(["a", "b", "c"]) for name in PARTS},
}


def simulated(chance: random.Random) -> FrozenTrial:
    """Return a trial whose value depends on two of its settings and on chance."""
    numbers = {name: 10 ** chance.uniform(-4, 0) for name in NUMBERS}
    parts = {name: chance.choice("abc") for name in PARTS}
    good = 0.5 + 0.1 * numbers["loss.term_0"] + (parts["model.part_0"] == "b") / 20
    ended = chance.random() < 1 / 3
    last = EPOCHS if ended else RUNG
    values = {e: good - 0.3 / e + chance.gauss(0, 0.01) for e in range(1, last + 1)}
    return create_trial(
        state=TrialState.COMPLETE if ended else TrialState.PRUNED,
        value=max(values.values()) if ended else None,
        params=numbers | parts,
        distributions=SPACE,
        intermediate_values=values,
        user_attrs={"settings": {}},
    )


def studied(trials: int) -> optuna.Study:
    """Return a study of so many simulated trials."""
    chance = random.Random(0)  # noqa: S311 - no secret
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", study_name="simulated")
    identity = flatten(PolicyConfig(first_rung=RUNG), "policy.") | flatten(RunConfig(), "base.")
    study.set_user_attr("identity", identity)
    study.add_trials([simulated(chance) for _ in range(trials)])
    return study


def main() -> None:
    """Draw the page three times, print the figures and compare."""
    asked = arguments(__doc__ or "")
    trials = 100 if asked.quick else 1000
    study, seconds = studied(trials), []
    with tempfile.TemporaryDirectory() as place:
        for number in range(3):
            folder = Path(place) / str(number)
            folder.mkdir()
            began = time.perf_counter()
            page = draw_study(study, folder)
            seconds.append(time.perf_counter() - began)
        size = page.stat().st_size
    figures = {"trials": trials, "seconds": round(statistics.median(seconds), 1), "bytes": size}
    bars = [
        Bar("bytes of a study's page", size, 2e6, least=False),
        Bar("seconds to draw it", statistics.median(seconds), 5, least=False),
    ]
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    main()
