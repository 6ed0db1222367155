"""Settings that others make useless, by rule: what has no effect is said, not ignored."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import not_
from typing import Any

from drmn.fields import flatten
from drmn.flags import Given, flag
from drmn.level_names import parse_levels

Values = Mapping[str, Any]
"""Settings of a job by name, those of a run without a prefix."""
Test = Callable[[Any], bool]


def _is(*values: Any) -> Test:
    return lambda value: value in values


def _one_level(levels: str) -> bool:
    return len(parse_levels(levels)) == 1


@dataclass(frozen=True, slots=True)
class Rule:
    """Settings that have no effect where others have certain values."""

    names: tuple[str, ...]
    """Names, or beginnings of names that end with a dot."""
    off: Mapping[str, Test]
    """Settings that make them useless, if all of these pass their test. A job without one of them
    is judged by the rest."""

    def covers(self, name: str) -> bool:
        """Return whether the rule is about a setting."""
        return any(
            name == each or (each[-1] == "." and name.startswith(each)) for each in self.names
        )

    def reason(self, values: Values) -> str:
        """Return why the settings have no effect; empty where they have one."""
        there = [name for name in self.off if name in values]
        if not there or not all(self.off[name](values[name]) for name in there):
            return ""
        shown = [name for name in there if name not in self.names]
        return " and ".join(f"{flag(name)} is {values[name]}" for name in shown)


SIT = ("width", "scope", "layers", "heads", "feedforward", "dropout", "embedding")
RULES = (
    Rule(
        ("finetune.", "compute.checkpointing", "compute.compile"),
        {"tier": _is("frozen"), "policy.finetune": not_},
    ),
    Rule(("finetune.augment",), {"optim.views": not_}),
    Rule(
        ("optim.views",),
        {"tier": _is("frozen"), "policy.finetune": not_, "views": not_},
    ),
    Rule((*(f"model.sit_{part}" for part in SIT), "compute.attention"), {"model.sit": _is("none")}),
    Rule(("model.sit_scope",), {"model.sit": _is("attr")}),
    Rule(("model.sit_scope",), {"workers": _is(1), "max_workers": _is(0, 1)}),
    Rule(("model.channel_attention", "model.gate_reduction"), {"model.dab": not_}),
    Rule(("model.gate_reduction",), {"model.channel_attention": not_}),
    Rule(("model.fusion",), {"model.levels": _one_level}),
    Rule(("loss.global_branch", "model.global_input"), {"model.global_branch": not_}),
    Rule(
        ("policy.first_rung", "policy.last_rung", "policy.factor"), {"policy.pruner": _is("none")}
    ),
    Rule(("policy.startup_trials",), {"policy.sampler": _is("random")}),
    Rule(
        ("policy.sampler",),
        {"policy.sampler": _is("curve-gp"), "policy.second_objective": bool},
    ),
    Rule(("pictures.images", "pictures.attributes"), {"pictures.every": not_}),
    Rule(("budget.price",), {"budget.money": not_, "plan": not_}),
    Rule(("pca_share",), {"encoding": _is("bf16", "int8")}),
    Rule(("data_root",), {"dataset": _is("demo")}),
)
"""All rules of this kind. What a mode of a job, or features from a file, have no use for is refused
(`drmn.flags.refuse_unused`)."""


def unused(names: Iterable[str], values: Values) -> dict[str, str]:
    """Return those of some settings that have no effect among `values`, each with the reason."""
    found: dict[str, str] = {}
    for name in names:
        reasons = (rule.reason(values) for rule in RULES if rule.covers(name))
        if reason := next(filter(None, reasons), ""):
            found[name] = reason
    return found


PARTS = ("base.", "config.", "features.", "resources.")
"""Parts of a job whose settings have no prefix on its command line."""


def values_of(job: Any) -> dict[str, Any]:
    """Return the settings of a job by the names that they have on its command line."""
    flat = flatten(job)
    prefix = {name: next(filter(name.startswith, PARTS), "") for name in flat}
    return {name.removeprefix(prefix[name]): value for name, value in flat.items()}


def notes(given: Given, values: Values, plain: Values | None = None) -> list[str]:
    """Return a note on each given option that has no effect.

    Args:
        given: The options.
        values: All settings of the job.
        plain: Defaults that a printed command names too: these are passed over.
    """
    usual = plain or {}
    changed = [name for name in given if name not in usual or values[name] != usual[name]]
    return [
        f"note: {f'{flag(name)} {given[name]}'.strip()} has no effect: {reason}"
        for name, reason in unused(changed, values).items()
    ]


def overridden(given: Given, values: Values, cause: str) -> list[str]:
    """Return a note on each given option in whose place `cause` has set another value."""
    return [
        f"note: {flag(name)} {text} has no effect: {cause} sets {values[name]}"
        for name, text in given.items()
        if name in values and isinstance(values[name], bool | str) and text != str(values[name])
    ]
