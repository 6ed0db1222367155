"""Forecast of a search, as `--plan` prints it."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import optuna
import torch
from rich.console import Console
from rich.table import Table

from drmn.data.splits import development
from drmn.data.store import feature_store
from drmn.report.say import say
from drmn.search.budget import forecast, step_timing
from drmn.search.budget.forecast import Forecast, quantiles
from drmn.search.study.create import create_study
from drmn.search.study.plan import StudyPlan, on_levels
from drmn.space_features import needed_levels
from drmn.units import duration

TIMING_S = 60.0
"""Seconds that steps are timed for."""


def show_forecast(console: Console, plan: StudyPlan, store: Path) -> dict[str, list[float]]:
    """Time steps on the feature store, and print a forecast of the search of `plan`.

    Returns P10, P50 and P90 by quantity, as `--json` has them.
    """
    torch.set_num_threads(max(1, int(plan.resources.cpus)))
    device = "cuda" if plan.resources.gpus and torch.cuda.is_available() else "cpu"
    at_once = forecast_places(plan)
    held = feature_store.held_features(store)
    plan = on_levels(plan, held.levels)
    samples = step_timing.measure(
        step_timing.points(create_study(plan, optuna.create_study(direction="maximize"), held)),
        lambda run: development.open_store(store, fold=run.fold, levels=needed_levels(run.model)),
        seconds=TIMING_S,
        device=device,
    )
    made = forecast.forecast(samples, plan.policy, plan.budget, at_once)
    least, middle, most = (duration(seconds) for seconds in step_timing.spread(samples))
    say(
        console,
        f"Plan of study {plan.name}: nothing was started. {len(samples)} settings were tried for "
        f"some steps on this machine: an epoch takes {middle} ({least} to {most}).",
    )
    console.print(table(plan, made, at_once))
    if plan.policy.finetune:
        say(console, f"To it comes what --policy.finetune {plan.policy.finetune} takes, not timed.")
    return {name: list(quantiles(values)) for name, values in asdict(made).items()}


def forecast_places(plan: StudyPlan) -> int:
    """Return how many trials this machine would run in parallel."""
    asked = plan.resources
    room = (os.cpu_count() or 1) / (asked.cpus * asked.workers)
    if asked.gpus:
        room = min(room, torch.cuda.device_count() / (asked.gpus * asked.workers))
    limits = [limit for limit in (plan.budget.at_once, plan.policy.window) if limit]
    return max(1, min([int(room), *limits]))


def table(plan: StudyPlan, made: Forecast, at_once: int) -> Table:
    """Return a row per quantity, with P10, P50 and P90 of the simulated searches."""
    hours = {"worker time": made.worker_hours, f"time, {at_once} at a time": made.hours}
    rows = {
        f"trials of {plan.budget.trials} run to the end": _whole(made.complete),
        "epochs": _whole(made.epochs),
        **{name: [duration(3600 * v) for v in quantiles(each)] for name, each in hours.items()},
        "disk, MB": _whole(made.megabytes),
    }
    if plan.budget.price:
        rows["cost"] = [f"{plan.budget.price * v:.2f}" for v in quantiles(made.worker_hours)]
    shown = Table(box=None, pad_edge=False)
    for column in ("", "P10", "P50", "P90"):
        shown.add_column(column, justify="left" if not column else "right")
    for name, values in rows.items():
        shown.add_row(name, *values)
    return shown


def _whole(values: Sequence[float]) -> list[str]:
    return [f"{value:.0f}" for value in quantiles(values)]
