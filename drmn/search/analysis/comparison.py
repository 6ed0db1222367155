"""The epoch at which all trials of a study can be compared, stopped early or not."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from drmn.search.trial_summary import FINETUNES


def comparison_epoch(trials: Sequence[FrozenTrial], policy: Mapping[str, Any]) -> int:
    """Return the first rung; without a pruner, the last epoch that all trials have reached.

    Args:
        trials: The trials of a study.
        policy: Its policy by dotted name, as its identity has it.
    """
    first = int(policy["policy.first_rung"])
    if policy["policy.pruner"] != "none":
        return first
    reached = [max(each.intermediate_values) for each in chosen(trials)]
    return min(reached, default=first)


def chosen(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have an epoch, without those that fine-tune another's settings."""
    own = [trial for trial in trials if FINETUNES not in trial.user_attrs]
    return [trial for trial in own if trial.intermediate_values]
