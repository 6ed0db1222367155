"""A study of enqueued trials, run to the end of its queue."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from drmn.errors import StudyError
from drmn.final.context import Context
from drmn.final.queue_lines import QueueLines
from drmn.metric_names import Metrics
from drmn.search.session import open_session
from drmn.search.study.plan import EnqueuedPlan
from drmn.search.trial_summary import TrialSummary, epochs

Trained = tuple[TrialSummary, Mapping[int, Metrics]]
"""A trial that is over, and the metrics of its epochs."""


def run_queue(
    context: Context, plan: EnqueuedPlan, names: Sequence[str], doing: str, stopped: str
) -> list[Trained]:
    """Run a queue's trials that are not over yet on the search's features; return all.

    Args:
        context: The search, and where its trials run.
        plan: The study.
        names: What each trial is, in words.
        doing: What the trials are for, such as "confirm"; printed with the number that is left.
        stopped: What was stopped, such as "The confirmation".

    Raises:
        StudyError: It was stopped before the queue's end.
    """
    with open_session(plan, context.store, context.catalogue, context.console) as session:
        done = sum(row.state != "RUNNING" for row in session.record.trial_summaries())
        if done < len(names):
            context.say(f"{doing}: {len(names) - done} trials")
        session.execute([QueueLines(context.console, names, context.search.objective, done)])
        trained = over(session.record.trial_summaries(), session.record.trials())
        if len(trained) < len(names):
            raise StudyError(f"{stopped} was stopped; the same command resumes it.")
        session.ship(context.console)
        return trained


def over(rows: Sequence[TrialSummary], trials: Sequence[Any]) -> list[Trained]:
    """Return the trials up to the first that is not over.

    Args:
        rows: All trials of a study, by number.
        trials: The same, as Optuna has them.
    """
    ended = itertools.takewhile(lambda row: row.state != "RUNNING", rows)
    return [(row, epochs(trials[row.number])) for row in ended]
