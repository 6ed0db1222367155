"""Diagnostics of a search space: ranges that are too narrow, settings without effect."""

from collections.abc import Iterator, Mapping, Sequence

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from drmn.search.analysis.comparison import chosen
from drmn.search.analysis.evidence import standard_error
from drmn.search.analysis.parameter_effects import ERROR, Effect, effect
from drmn.search.samplers.unit_cube import to_unit
from drmn.search.trial_summary import TrialSummary, bests

BORDER = 0.03
"""Share of a range, from either end, that counts as its border."""
MIN_TRIALS_FOR_EFFECTS = 20
"""Trials before which no effect of a setting is estimated."""
NEGLIGIBLE_SHARE = 0.1
"""Share of the variance between trials that counts as none."""
FACTORS = ("val/beta", "val/gamma", "val/delta")
"""Chosen from an epoch's scores, not measured: a formula without one has it as 0."""
MAX_NAMED = 3
"""Maximum number of settings that are named for their effect."""


def notes(
    best: TrialSummary | None,
    rows: Sequence[TrialSummary],
    trials: Sequence[FrozenTrial],
    rung: int,
) -> list[str]:
    """Return notes on a space after a search of it.

    Args:
        best: The best trial.
        rows: All trials.
        trials: The same, as Optuna has them.
        rung: The epoch at which trials are compared: all have reached it, pruned or not.
    """
    found: list[str] = []
    if best is not None:
        (trial,) = (each for each in trials if each.number == best.number)
        found += _on_a_border(trial, best, trials)
        found += _known_to_imagenet(best)
    found += _effect_notes(effects(trials, rung), rung)
    found += _constant([row.metrics for row in rows if row.metrics])
    return found


def _known_to_imagenet(best: TrialSummary) -> Iterator[str]:
    """Yield what the best trial is worth without validation classes that ImageNet has too."""
    value = best.metrics.get("val/H_without_imagenet")
    if value is not None:
        yield (
            "some validation classes are ImageNet classes by name, which a backbone trained on "
            f"ImageNet knows by sight: without them H is {100 * value:.1f} instead of "
            f"{100 * best.metrics['val/H']:.1f}, at gamma "
            f"{best.metrics['val/gamma_without_imagenet']:.3g} instead of "
            f"{best.metrics['val/gamma']:.3g}"
        )


def _on_a_border(
    best: FrozenTrial, row: TrialSummary, trials: Sequence[FrozenTrial]
) -> Iterator[str]:
    """Yield the ranges to widen: a best value at an end that beats all values away from it.

    Within one standard error nothing says that the end is better.
    """
    for name, distribution in sorted(best.distributions.items()):
        if not isinstance(distribution, FloatDistribution | IntDistribution):
            continue
        if distribution.single():
            continue
        end = _end(to_unit(best.params[name], distribution))
        if end is None:
            continue
        away = [
            max(trial.intermediate_values.values())
            for trial in chosen(trials)
            if name in trial.params and _end(to_unit(trial.params[name], distribution)) != end
        ]
        if away and (row.value or 0.0) - max(away) > standard_error(row):
            yield (
                f"{name}: the best value, {best.params[name]:.3g}, is at the {end} end of its "
                f"range ({distribution.low:g} to {distribution.high:g}); widen it"
            )


def _end(where: float) -> str | None:
    if BORDER < where < 1 - BORDER:
        return None
    return "low" if where <= BORDER else "high"


def effects(trials: Sequence[FrozenTrial], rung: int) -> list[Effect]:
    """Return the effect of each setting on the values at an epoch, the largest first.

    The bounds hold for all settings together, so each is the wider the more there are.
    """
    own = chosen(trials)
    compared = [
        (t, bests(t.intermediate_values)[rung]) for t in own if rung in t.intermediate_values
    ]
    distributions: dict[str, BaseDistribution] = {}
    for trial in own:
        distributions |= trial.distributions
    found = []
    for name, distribution in sorted(distributions.items()):
        pairs = [(trial.params[name], value) for trial, value in compared if name in trial.params]
        if len(pairs) >= MIN_TRIALS_FOR_EFFECTS:
            values, results = zip(*pairs, strict=True)
            error = ERROR / len(distributions)
            found += [effect(name, values, results, distribution, error)]
    return sorted((each for each in found if each is not None), key=lambda each: -each.share)


def _effect_notes(found: Sequence[Effect], rung: int) -> Iterator[str]:
    """Yield the settings that surely have an effect, and those that surely have hardly any."""
    if large := [each for each in found if each.low > NEGLIGIBLE_SHARE][:MAX_NAMED]:
        named = ", ".join(f"{e.name} {e.share:.0%} (at least {e.low:.0%})" for e in large)
        yield f"of the differences between trials at epoch {rung} explain {named}"
    if small := [each for each in found if each.high < NEGLIGIBLE_SHARE]:
        named = ", ".join(each.name for each in small)
        most, least = max(each.high for each in small), min(each.trials for each in small)
        yield (
            f"hardly any effect at epoch {rung}, {most:.0%} of the differences at most in {least} "
            f"trials: {named}; a constant would do"
        )


def _constant(metrics: Sequence[Mapping[str, float]]) -> Iterator[str]:
    if len(metrics) < MIN_TRIALS_FOR_EFFECTS:
        return
    for name, value in metrics[0].items():
        if name in FACTORS or not name.startswith("val/"):
            continue
        if all(each.get(name) == value for each in metrics):
            yield f"{name}: {value:g} in all {len(metrics)} trials"
