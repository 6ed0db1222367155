"""What compact features cost: how settings rank on int8 and PCA, against whole features.

Trains points drawn from the space of CUB on real photos (cub2010_dev; frozen lite0 features, all
figures of validation classes), on each form, and compares their validation H: mean, and Spearman's
rank correlation with the same points on bfloat16. The line to hold it against is that of bfloat16
with another seed: chance alone moves ranks.
"""

from dataclasses import replace
from pathlib import Path

from bars import Bar, arguments, finish
from points import points
from pool import processes
from real_data import real_data
from rich.console import Console
from scipy.stats import spearmanr

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.splits import development
from drmn.fields import with_overrides
from drmn.prepare.job import FeatureRequest
from drmn.report.terminal import prepared
from drmn.training.loop import fit

ROOT = Path(__file__).parents[1]
WHOLE = FeatureConfig()
FORMS = {
    "bf16": WHOLE,
    "int8": replace(WHOLE, encoding="int8"),
    "pca 0.25": replace(WHOLE, encoding="pca"),
    "pca 0.5": replace(WHOLE, encoding="pca", pca_share=0.5),
}


def harmonic(config: RunConfig, store: Path) -> float:
    """Return the validation H of a run's best epoch."""
    data = development.open_store(store, levels=config.model.levels)
    return max(epoch.metrics["val/H"] for epoch in fit(config, data))


def store_of(photos: str, features: FeatureConfig) -> Path:
    """Return the store of a form."""
    request = FeatureRequest(
        dataset="cub",
        data_root=str(real_data(photos)),
        features=features,
        results=ROOT / "results" / "benchmarks",
    )
    return prepared(Console(stderr=True), request)[0]


def main() -> None:
    """Train each point on each form."""
    asked = arguments(__doc__ or "")
    photos = "cub2010_mini" if asked.quick else "cub2010_dev"
    # Without the transformer, which costs six times the rest and sees no more of the features.
    drawn = points(4 if asked.quick else 12, 2 if asked.quick else 4)
    runs = [with_overrides(config, {"model.sit": "none"}) for config in drawn]
    stores = {name: store_of(photos, features) for name, features in FORMS.items()}
    with processes() as pool:
        waiting = {
            name: [pool.submit(harmonic, config, store) for config in runs]
            for name, store in stores.items()
        }
        again = [replace(config, seed=1) for config in runs]
        waiting["bf16, another seed"] = [
            pool.submit(harmonic, config, stores["bf16"]) for config in again
        ]
        made = {name: [run.result() for run in asked_] for name, asked_ in waiting.items()}
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
    main()
