"""A study that is asked for trials and given their epochs: its record and its searcher."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import optuna
from optuna.trial import Trial

from drmn.config import RunConfig
from drmn.errors import ConfigError
from drmn.fields import with_overrides
from drmn.metric_names import Metrics
from drmn.search.config import PolicyConfig
from drmn.search.study.record import StudyRecord, not_finite
from drmn.search.study.searcher import Searcher, Suggestion
from drmn.search.study.warm_start import first_points, inherited_trials
from drmn.search.trial_summary import FINETUNES, TrialSpec, ranking
from drmn.space import Space, ask, settings

MOST_INVALID = 10
"""Points in a row that are no valid run: a space that has so many is checked too little."""


class AskTellStudy:
    """An open study, in the manner of Optuna's ask-and-tell.

    Args:
        study: The Optuna study, new or not.
        space: What to search.
        base: Settings that the space leaves alone.
        policy: How to search it.
        max_failures: How often a trial may lose its workers before it fails.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        base: RunConfig,
        policy: PolicyConfig,
        max_failures: int = 3,
    ) -> None:
        self.space, self.base, self.policy = space, base, policy
        self.record = StudyRecord(study, base, policy.objective, max_failures)
        self.searcher = Searcher(
            policy,
            base.seed,
            self._evaluate,
            first=first_points(study, space, base),
            inherited=inherited_trials(study, space),
        )
        self.searcher.sync(self.record.chosen())

    def _evaluate(self, trial: Trial) -> RunConfig:
        try:
            return settings(self.base, ask(self.space, trial), trial.params)
        except ConfigError as mistake:
            self.record.add_failed(trial, str(mistake))
            raise

    def ask(self) -> TrialSpec | None:
        """Return a trial that lost its process, otherwise a new one.

        None if the next one waits for results (`policy.window`).

        A point that is no valid run is recorded as a failed trial, and the next one is asked for.

        Raises:
            ConfigError: `MOST_INVALID` points in a row were no valid run.
        """
        if self.record.interrupted:
            return self.record.spec(self.record.interrupted.pop(0))
        found = self._next_valid()
        if found is None:
            return None
        # A repeated point gives more information with another seed than with the same.
        run = with_overrides(found.run, {"seed": self.base.seed + found.repeats})
        return self.record.add(found.trial, run)

    def _next_valid(self) -> Suggestion[RunConfig] | None:
        for _ in range(MOST_INVALID - 1):
            with suppress(ConfigError):  # recorded by `_evaluate`
                return self.searcher.ask(self.record.count, self.record.chosen())
        return self.searcher.ask(self.record.count, self.record.chosen())

    def ask_finetune(self) -> TrialSpec | None:
        """Return one of the best trials, to be trained again with a fine-tuned backbone.

        None while another trial runs, and when there are no more of them (`policy.finetune`).
        """
        waiting = self.finetune_queue
        return self.record.add_finetune(waiting[0]) if waiting else None

    @property
    def finetune_queue(self) -> list[int]:
        """The best trials that are now to be trained again with a fine-tuned backbone."""
        found = self.record.trial_summaries() if self.policy.finetune else []
        if any(trial.state == "RUNNING" and trial.again is None for trial in found):
            return []
        done = {trial.again for trial in found}
        best = ranking(t for t in found if t.again is None)[: self.policy.finetune]
        return [trial.number for trial in best if trial.number not in done]

    def report(
        self,
        number: int,
        epoch: int,
        metrics: Metrics,
        checkpoint: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        """Record an epoch; return whether the trial ends with it.

        Args:
            number: Number of the trial.
            epoch: From 1; one that is recorded already changes nothing.
            metrics: A NaN or an infinite one fails the trial.
            checkpoint: Checkpoint of the best epoch so far: its `epoch`, `sha256` and `bytes`.
        """
        if bad := not_finite(metrics):
            self.record.fail(number, f"{bad} is {metrics[bad]} in epoch {epoch}")
            return True
        best = self.record.add_epoch(number, epoch, metrics, checkpoint)
        attributes = self.record.trial(number).user_attrs
        epochs = int(attributes["settings"]["optim.epochs"])
        cause = "" if FINETUNES in attributes else self._judge(number, epoch, best, epochs)
        if epoch == epochs:
            self.record.complete(number)
        elif cause:
            self.record.prune(number, cause)
        else:
            return False
        return True

    def _judge(self, number: int, epoch: int, best: float, epochs: int) -> str:
        """Return why a trial stops at a rung; a rung that it passed is not judged again."""
        if self.record.passed(number) >= epoch:
            return ""
        cause = self.searcher.judge(number, epoch, best, epochs)
        if not cause and self.searcher.is_rung(epoch):
            self.record.note_passed(number, epoch)
        return cause
