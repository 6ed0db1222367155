"""A study's figures: Optuna's plots as pictures and as one interactive page, drawn while it runs.

    python -m drmn.report.figures results/studies/NAME

draws them once. `drmn.report.live_figures` does so from time to time; this imports little, to be
quick.
"""

import argparse
import warnings
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from drmn.experiment.trial_checkpoints import FIGURES
from drmn.io import atomic
from drmn.io.content import note_made
from drmn.report.study_plots import history_of, plot_effects, plot_history
from drmn.search.analysis.comparison import chosen, comparison_epoch
from drmn.search.analysis.diagnostics import effects
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import bests
from drmn.tracking import events
from drmn.tracking.spool import open_spool

PAGE = "study.html"


def draw_study(study: optuna.Study, folder: Path) -> list[Path]:
    """Draw the figures that a study has enough trials for; return their files.

    The history is of all trials, parallel coordinates of complete ones. Slices and importances are
    of all trials at one epoch (`compared`), where those that were stopped early count as any other.
    """
    from matplotlib import pyplot as plt  # noqa: PLC0415 - seconds

    plt.switch_backend("agg")
    place = folder / FIGURES
    place.mkdir(exist_ok=True)
    made = []
    for name, (picture, title) in _plots(study, optuna.visualization.matplotlib).items():
        figure = _arranged(picture(), title)
        figure.savefig(place / f".{name}.png", dpi=110, bbox_inches="tight")
        (place / f".{name}.png").replace(place / f"{name}.png")
        plt.close(figure)
        made.append(place / f"{name}.png")
    plots = _plots(study, optuna.visualization)
    if plots:
        atomic.write(place / PAGE, _page(study.study_name, plots))
        made.append(place / PAGE)
    return made


Plots = Mapping[str, tuple[Callable[[], Any], str]]
"""A function that draws each figure, and its title."""


def _plots(study: optuna.Study, backend: Any) -> Plots:
    """Return the figures that can be drawn of a study, by name."""
    objective = study.user_attrs["identity"]["policy.objective"]
    complete, early, epoch = finished(study), *compared(study)
    interactive, history = backend is optuna.visualization, history_of(study)
    found: dict[str, tuple[Callable[[], Any], str]] = {}
    if len(history.best) > 1:
        found["history"] = (
            lambda: plot_history(history, objective, interactive=interactive),
            f"Optimisation history: {objective} at each trial's best epoch",
        )
    if len(complete.trials) > 1:
        found["parallel"] = (
            lambda: backend.plot_parallel_coordinate(complete, target_name=objective),
            f"Parallel coordinates: {objective}, complete trials",
        )
    reached = f"{objective} by epoch {epoch}"
    if len(early.trials) > 1 and _common(early):
        found["slices"] = (
            lambda: backend.plot_slice(early, target_name=reached),
            f"Each setting against {reached}, all {len(early.trials)} trials that got there",
        )
    if shares := effects(study.get_trials(deepcopy=False), epoch):
        found["importances"] = (
            lambda: plot_effects(shares, interactive=interactive),
            f"What explains {reached}, as the search says; bounds hold for random trials",
        )
    return found


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


def _common(study: optuna.Study) -> set[str]:
    """Return the settings that all trials have."""
    trials = study.get_trials(deepcopy=False)
    return set.intersection(*(set(trial.params) for trial in trials)) if trials else set()


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


def _arranged(drawn: Any, title: str) -> Any:
    """Return the figure of Optuna's axes, one or an array, large enough for the settings' names."""
    each = list(drawn.flat) if hasattr(drawn, "flat") else [drawn]
    figure = each[0].figure
    figure.set_size_inches(max(14.0, 2.6 * len(each)), 7)
    for axes in each:
        axes.set_title("")
        if len(each) > 1:
            axes.tick_params(axis="x", labelsize=8, labelrotation=90, which="both")
            axes.xaxis.label.set_size(9)
    figure.suptitle(title)
    return figure


def _page(name: str, plots: Plots) -> str:
    """Return one page of interactive figures that needs no network: plotly is embedded once."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - seconds

    parts = []
    for picture, title in plots.values():
        figure = picture()
        figure.update_layout(title=title, height=560)
        parts.append(figure.to_html(full_html=False, include_plotlyjs=False))
    head = f"<meta charset='utf-8'><title>Study {name}</title><script>{get_plotlyjs()}</script>"
    return f"<!doctype html><html><head>{head}</head><body>{''.join(parts)}</body></html>"


def main() -> None:
    """Draw the figures of the study in a folder and put them into MLflow's spool."""
    parser = argparse.ArgumentParser(prog="python -m drmn.report.figures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--storage", default="", help="the PostgreSQL that has its record")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # Optuna calls all of its pictures experimental
    folder = asked.folder.absolute()
    study = load_study(folder.parent, folder.name, asked.storage)
    of = drawn_of(study)  # before: a trial may end while they are drawn
    made = draw_study(study, folder)
    note_made(folder / FIGURES, of)
    spool = open_spool(folder / "spool.db")
    for path in made:
        spool.put(*events.artifact(study.user_attrs["key"], path, FIGURES))


if __name__ == "__main__":
    main()
