"""A study's figures: Optuna's plots as pictures and as one interactive page, drawn while it runs.

    python -m drmn.report.figures results/studies/NAME

draws them once. `drmn.report.live_figures` does so from time to time; this imports little, to be
quick.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from drmn.experiment.trial_checkpoints import FIGURES
from drmn.io import atomic
from drmn.io.content import note_made
from drmn.search.storage.studies import load_study
from drmn.search.trial_summary import FINETUNES, bests
from drmn.tracking import events
from drmn.tracking.spool import open_spool

MIN_RANDOM_TRIALS = 10
"""Random trials that importances need; those of a sampler's trials are nearly noise."""
PAGE = "study.html"


def draw_study(study: optuna.Study, folder: Path) -> list[Path]:
    """Draw the figures that a study has enough trials for; return their files.

    Those of values are of complete trials. Slices and importances are of all trials at one epoch
    (`compared`), where trials that were stopped early count as any other.
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
    of = f"{objective}, complete trials"
    found: dict[str, tuple[Callable[[], Any], str]] = {}
    if len(complete.trials) > 1:
        named = {"target_name": objective}
        found["history"] = (
            lambda: backend.plot_optimization_history(complete, **named),
            f"Optimisation history: {of}",
        )
        found["parallel"] = (
            lambda: backend.plot_parallel_coordinate(complete, **named),
            f"Parallel coordinates: {of}",
        )
    if len(early.trials) > 1 and _common(early):
        reached = f"{objective} by epoch {epoch}"
        found["slices"] = (
            lambda: backend.plot_slice(early, target_name=reached),
            f"Each setting against {reached}, all {len(early.trials)} trials that got there",
        )
        chance, title = _judged(study, early, reached)
        if chance is not None:
            found["importances"] = (
                lambda: backend.plot_param_importances(chance, target_name=reached),
                title,
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
    return _study(study, [trial for trial in trials if FINETUNES not in trial.user_attrs])


def compared(study: optuna.Study) -> tuple[optuna.Study, int]:
    """Return a study of all trials at one epoch, their value the best up to it; and that epoch.

    It is the first rung; without a pruner, the last epoch that all trials have reached.
    """
    policy = study.user_attrs["identity"]
    curves = {
        trial.number: (trial, bests(trial.intermediate_values))
        for trial in study.get_trials(deepcopy=False)
        if FINETUNES not in trial.user_attrs and trial.intermediate_values
    }
    epoch = int(policy["policy.first_rung"])
    if policy["policy.pruner"] == "none":
        epoch = min((max(curve) for _, curve in curves.values()), default=epoch)
    reached = [(trial, curve[epoch]) for trial, curve in curves.values() if epoch in curve]
    return _study(study, [_valued(trial, value) for trial, value in reached]), epoch


def _valued(trial: FrozenTrial, value: float) -> FrozenTrial:
    return create_trial(
        value=value,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={"number": trial.number},
    )


def _judged(
    study: optuna.Study, early: optuna.Study, reached: str
) -> tuple[optuna.Study | None, str]:
    """Return the trials that importances are estimated from, and a title with their reliability.

    Only random trials give unbiased ones: a sampler's trials cluster where values are good.
    """
    identity = study.user_attrs["identity"]
    first = int(identity["policy.startup_trials"])
    if identity["policy.sampler"] == "random":
        first = len(study.trials)
    numbered = [(t.user_attrs["number"], t) for t in early.get_trials(deepcopy=False)]
    drawn = [trial for number, trial in numbered if 0 < number < first]  # 0 is the baseline
    if len(drawn) >= MIN_RANDOM_TRIALS:
        title = (
            f"What made a difference to {reached}: a rough guide, by {len(drawn)} trials drawn by "
            "chance"
        )
        return _varied(_study(study, drawn)), title
    sampler = identity["policy.sampler"]
    return _varied(early), f"EXPLORATORY, of {sampler}'s own trials: what moved with {reached}"


def _varied(study: optuna.Study) -> optuna.Study | None:
    """Return a study if importances can be estimated from it."""
    values = {trial.value for trial in study.get_trials(deepcopy=False)}
    return study if len(values) > 1 and len(_common(study)) > 1 else None


def _common(study: optuna.Study) -> set[str]:
    """Return the settings that all trials have."""
    trials = study.get_trials(deepcopy=False)
    return set.intersection(*(set(trial.params) for trial in trials)) if trials else set()


def _study(like: optuna.Study, trials: list[FrozenTrial]) -> optuna.Study:
    made = optuna.create_study(direction="maximize", study_name=like.study_name)
    made.add_trials(trials)
    return made


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
