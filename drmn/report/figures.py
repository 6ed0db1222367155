"""The page of a study: its plots as SVG and its best trials, drawn while it runs.

    python -m drmn.report.figures results/studies/NAME

draws it and queues it for MLflow. `drmn.report.live_figures` does so from time to time; this
imports little, to be quick.
"""

import argparse
import html
from collections.abc import Container
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from drmn.collector import collect_rarely
from drmn.experiment.trial_checkpoints import FIGURES
from drmn.io import atomic
from drmn.io.content import note_made
from drmn.report.page_parts import document, grid, short
from drmn.report.study_plots import (
    history_of,
    plot_effects,
    plot_history,
    plot_parallel,
    plot_slices,
    searched_settings,
)
from drmn.search.analysis.comparison import chosen, comparison_epoch
from drmn.search.analysis.diagnostics import effects
from drmn.search.storage.studies import load_study
from drmn.search.study_totals import StudyTotals
from drmn.search.trial_summary import METADATA, TrialSummary, bests, ranking, summarize_all
from drmn.tracking import events
from drmn.tracking.spool import open_spool

PAGE = "study.html"
BEST = 10
"""Trials that the page lists."""


def draw_study(study: optuna.Study, folder: Path) -> Path:
    """Write the page of a study into its folder of figures; return it.

    The history is of all trials, parallel coordinates of complete ones. Slices and importances are
    of all trials at one epoch (`compared`), where those that were stopped early count as any other.
    """
    place = folder / FIGURES
    place.mkdir(exist_ok=True)
    rows = summarize_all(study)
    title = f"Study {study.study_name}"
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(study, rows), *_plots(study)]
    parts += [_best(study, rows), _failures(rows)]
    atomic.write(place / PAGE, document(title, parts))
    return place / PAGE


def _summary(study: optuna.Study, rows: list[TrialSummary]) -> str:
    """Return the study in a paragraph: its best trial beside the baselines, and what was spent."""
    objective = study.user_attrs["identity"]["policy.objective"]
    totals = StudyTotals([row for row in rows if row.state != "RUNNING"])
    said = [f"Trials: {totals.counts or 'none'}. Spent: {totals}."]
    if (best := totals.best) is not None:
        lines = study.user_attrs.get(METADATA, {}).get("lines", [])
        known = {line["name"]: line["metrics"].get(objective) for line in lines}
        beside = ", ".join(f"{name} {100 * v:.1f}" for name, v in known.items() if v is not None)
        value = f"The best is trial {best.number}: {objective} {100 * (best.value or 0.0):.1f}"
        said.insert(0, f"{value}{f' (baselines: {beside})' if beside else ''}, on validation.")
    return f'<p class="verdict">{html.escape(" ".join(said))}</p>'


def _plots(study: optuna.Study) -> list[str]:
    """Return the plots that a study has enough trials for, below their titles."""
    objective = study.user_attrs["identity"]["policy.objective"]
    complete, (early, epoch), history = finished(study), compared(study), history_of(study)
    found: list[tuple[str, str]] = []
    if len(history.best) > 1:
        found.append(
            (f"History: {objective} at each trial's best epoch", plot_history(history, objective))
        )
    reached = f"{objective} by epoch {epoch}"
    if len(early.trials) > 1:
        title = f"Each setting against {reached}, all {len(early.trials)} trials that got there"
        found.append((title, plot_slices(early.trials, reached)))
    if shares := effects(study.get_trials(deepcopy=False), epoch):
        title = f"What explains {reached}, as the search says; bounds hold for random trials"
        found.append((title, plot_effects(shares)))
    if len(complete.trials) > 1:
        title = f"Parallel coordinates: {objective}, complete trials"
        found.append((title, plot_parallel(complete.trials, objective)))
    return [f"<h2>{html.escape(title)}</h2>{drawn}" for title, drawn in found]


def _best(study: optuna.Study, rows: list[TrialSummary]) -> str:
    ranked = ranking(rows)[:BEST]
    if not ranked:
        return ""
    params = searched_settings(ranked)
    listed = [
        (
            f"trial {row.number}",
            [f"{100 * (row.value or 0.0):.1f}", str(row.best_epoch), row.state.lower()]
            + [short(row.params.get(name, "")) for name in params],
        )
        for row in ranked
    ]
    objective = study.user_attrs["identity"]["policy.objective"]
    head = ["", f"{objective}, %", "epoch", "state", *params]
    return f"<h2>The best trials</h2>{grid(head, listed)}"


def _failures(rows: list[TrialSummary]) -> str:
    failed = [(f"trial {row.number}", [row.cause]) for row in rows if row.state == "FAIL"]
    return f"<h2>Failed trials</h2>{grid(['', 'cause'], failed)}" if failed else ""


def drawn_of(study: optuna.Study) -> dict[str, Any]:
    """Return the state that a study's figures show: its key, and numbers of trials and epochs."""
    trials = study.get_trials(deepcopy=False)
    return {
        "study": study.user_attrs.get("key"),
        "trials": sum(trial.state.is_finished() for trial in trials),
        "epochs": sum(len(trial.intermediate_values) for trial in trials),
    }


def finished(study: optuna.Study) -> optuna.Study:
    """Return a study of the complete trials, without those that fine-tune another's settings."""
    states = (TrialState.COMPLETE,)
    trials = study.get_trials(deepcopy=False, states=states)
    return _Selection(study, chosen(trials))


def compared(study: optuna.Study) -> tuple[optuna.Study, int]:
    """Return a study of all trials at one epoch, their value the best up to it; and that epoch.

    It is the first rung; without a pruner, the last epoch that all trials have reached.
    """
    trials = study.get_trials(deepcopy=False)
    epoch = comparison_epoch(trials, study.user_attrs["identity"])
    curves = [(trial, bests(trial.intermediate_values)) for trial in chosen(trials)]
    reached = [_valued(trial, curve[epoch]) for trial, curve in curves if epoch in curve]
    return _Selection(study, reached), epoch


def _valued(trial: FrozenTrial, value: float) -> FrozenTrial:
    made = create_trial(value=value, params=trial.params, distributions=trial.distributions)
    made.number = trial.number
    return made


class _Selection(optuna.Study):
    """Some trials of a study, under their numbers there: a copy in a storage gets new ones."""

    def __init__(self, like: optuna.Study, trials: list[FrozenTrial]) -> None:
        made = optuna.create_study(direction="maximize", study_name=like.study_name)
        super().__init__(like.study_name, made._storage)  # noqa: SLF001 - as Optuna's own copies
        self._selected = trials

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials of these states, for plots that do not change them."""
        del deepcopy
        return [trial for trial in self._selected if states is None or trial.state in states]


def main() -> None:
    """Draw the page of the study in a folder and put it into MLflow's spool."""
    parser = argparse.ArgumentParser(prog="python -m drmn.report.figures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--storage", default="", help="the PostgreSQL that has its record")
    asked = parser.parse_args()
    collect_rarely()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = asked.folder.absolute()
    study = load_study(folder.parent, folder.name, asked.storage)
    of = drawn_of(study)  # before: a trial may end while they are drawn
    page = draw_study(study, folder)
    note_made(folder / FIGURES, of)
    open_spool(folder / "spool.db").put(*events.artifact(study.user_attrs["key"], page, FIGURES))


if __name__ == "__main__":
    main()
