"""What compact features cost: how settings rank on int8 and PCA, against whole features.

Trains points drawn from the space of CUB on real photos (cub2010_dev; frozen lite0 features, all
figures of validation classes), on each form, and compares their validation H: mean, and Spearman's
rank correlation with the same points on bfloat16. The line to hold it against is that of bfloat16
with another seed: chance alone moves ranks.
"""

import os
from dataclasses import replace
from pathlib import Path

import optuna
import torch
from bars import Bar, arguments, finish
from rich.console import Console
from scipy.stats import spearmanr

from drmn.config import FeatureConfig, RunConfig, with_overrides
from drmn.data import development
from drmn.report.terminal import Order, prepared
from drmn.space import load
from drmn.train import fit

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("DRMN_SHARED", ROOT.parent / "shared" / "data"))
WHOLE = FeatureConfig()
FORMS = {
    "bf16": WHOLE,
    "int8": replace(WHOLE, encoding="int8"),
    "pca 0.25": replace(WHOLE, encoding="pca"),
    "pca 0.5": replace(WHOLE, encoding="pca", pca_share=0.5),
}


def points(count: int, epochs: int) -> list[RunConfig]:
    """Return settings drawn from the space of CUB."""
    space = load("cub")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        constants = {**space(trial), "optim.epochs": epochs}
        drawn.append(with_overrides(RunConfig(), {**trial.params, **constants}))
    return drawn


def harmonic(config: RunConfig, store: Path) -> float:
    """Return the validation H of a run's best epoch."""
    data = development.open_store(store, levels=config.model.levels)
    return max(epoch.metrics["val/H"] for epoch in fit(config, data))


def main() -> None:
    """Train each point on each form."""
    asked = arguments(__doc__ or "")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    photos = "cub2010_mini" if asked.quick else "cub2010_dev"
    if not (SHARED / photos).is_dir():
        raise SystemExit(f"no {SHARED / photos}: set DRMN_SHARED to the folder of the real data")
    runs = points(4 if asked.quick else 10, 2 if asked.quick else 4)
    made: dict[str, list[float]] = {}
    for name, features in FORMS.items():
        order = Order(
            dataset="cub",
            data_root=SHARED / photos,
            features=features,
            storage=ROOT / "results" / "benchmarks",
        )
        store, _ = prepared(Console(stderr=True), order)
        made[name] = [harmonic(config, store) for config in runs]
        if name == "bf16":
            again = [replace(config, seed=1) for config in runs]
            made["bf16, another seed"] = [harmonic(config, store) for config in again]
    whole = made.pop("bf16")
    rank = {name: float(spearmanr(whole, values).statistic) for name, values in made.items()}
    figures: dict[str, object] = {"bf16, mean validation H": round(sum(whole) / len(whole), 4)}
    for name, values in made.items():
        mean = sum(values) / len(values)
        figures[f"{name}, mean validation H"] = round(mean, 4)
        figures[f"{name}, rank correlation with bf16"] = round(rank[name], 3)
    least = -1.0 if asked.quick else 0.9
    bars = [
        Bar("int8, rank correlation", rank["int8"], least),
        Bar("pca 0.25, rank correlation", rank["pca 0.25"], least - 0.1),
    ]
    finish(figures, bars, asked.json)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
