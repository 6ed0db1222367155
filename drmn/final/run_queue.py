"""A study of enqueued trials, run to the end of its queue."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drmn.data.images.catalogue import Catalogue
from drmn.errors import StudyError
from drmn.final.context import Context
from drmn.final.queue_lines import QueueLines
from drmn.metric_names import Metrics
from drmn.search.session import open_session
from drmn.search.study.plan import EnqueuedPlan
from drmn.search.trial_summary import TrialSummary, epochs

Trained = tuple[TrialSummary, Mapping[int, Metrics]]
"""A trial that is over, and the metrics of its epochs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """Enqueued trials to run, and the features that they run on."""

    plan: EnqueuedPlan
    names: Sequence[str]
    """What each trial is, in words."""
    purpose: str
    """What the trials are for, such as "confirm"; printed with the number that is left."""
    step: str
    """What may be stopped, such as "The confirmation"."""
    store: Path
    catalogue: Catalogue
    objective: str = ""
    """The metric that is printed of each trial; none if it is empty."""


def run_queue(context: Context, queue: Queue) -> list[Trained]:
    """Run the trials of a queue that are not over yet; return all.

    Raises:
        StudyError: It was stopped before the queue's end.
    """
    names = queue.names
    with open_session(queue.plan, queue.store, queue.catalogue, context.console) as session:
        done = sum(row.state != "RUNNING" for row in session.record.trial_summaries())
        if done < len(names):
            context.say(f"{queue.purpose}: {len(names) - done} trials")
        session.execute([QueueLines(context.console, names, queue.objective, done)])
        trained = over(session.record.trial_summaries(), session.record.trials())
        if len(trained) < len(names):
            raise StudyError(f"{queue.step} was stopped; the same command resumes it.")
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
