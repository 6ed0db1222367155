"""A study of enqueued trials: their settings are known, none is suggested and none pruned."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial

from drmn.config import RunConfig
from drmn.fields import with_overrides
from drmn.search.config import PolicyConfig
from drmn.search.study.ask_tell import AskTellStudy
from drmn.search.trial_summary import TrialSpec
from drmn.space import fixed_settings


class EnqueuedStudy(AskTellStudy):
    """An open study whose trials come from a queue, in its order.

    Args:
        study: The Optuna study, new or not.
        base: Settings that the queue leaves alone.
        policy: The objective.
        queue: What each trial sets otherwise.
        max_failures: How often a trial may lose its workers before it fails.
    """

    def __init__(
        self,
        study: optuna.Study,
        base: RunConfig,
        policy: PolicyConfig,
        queue: Sequence[Mapping[str, Any]],
        max_failures: int = 3,
    ) -> None:
        super().__init__(study, fixed_settings, base, policy, max_failures)
        self.queue = queue

    def ask(self) -> TrialSpec | None:
        """Return a trial that lost its process, otherwise the next one; None after the last."""
        record = self.record
        if record.interrupted:
            return record.spec(record.interrupted.pop(0))
        if record.count >= len(self.queue):
            return None
        settings = with_overrides(self.base, self.queue[record.count])
        return record.add(create_trial(state=TrialState.RUNNING), settings)
