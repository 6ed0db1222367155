"""What DRMN's parts are worth on real photos, `--seeds` each, beside the linear baselines.

All figures are of validation classes, where the settings were chosen too. Frozen: cub2010_dev (150
bird classes, 4,513 photos), tf_efficientnet_lite0 at 224 pixels: each row of the paper's ablation
table, with the best of the same few settings for it, on three folds. The transformer's readings:
cub2010_mini, in batches of 16, where `joint` can be afforded. Tiers: cub2010_mini at 112 pixels, on
stored features and with the backbone trained along; how alike the two rank twelve settings drawn
from the space of CUB.
"""

import statistics
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from bars import Bar, finish, flags
from points import points
from pool import processes
from real_data import real_data
from rich.console import Console
from scipy.stats import sem, spearmanr, t
from small_space import drawn

from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.data.images.catalogue import Catalogue
from drmn.data.splits import development
from drmn.data.splits.photos import open_photos
from drmn.evaluation import baselines
from drmn.fields import with_overrides
from drmn.model.ablations import ABLATIONS, ablated
from drmn.model.extraction import backbone_of
from drmn.prepare.job import FeatureRequest
from drmn.report.terminal import prepared
from drmn.space import Value
from drmn.training.loop import fit

ROOT = Path(__file__).parents[1]
Figures = Mapping[str, float]
Result = tuple[dict[str, object], list[Bar]]
"""Figures by their names, and bars."""

SETTINGS: dict[str, Value] = {
    "model.levels": "16+32",
    "model.fusion": "concat",
    "model.width": 256,
    "model.sit": "attr",
    "model.sit_dropout": 0.3,
    "model.scale": 4.5,
    "loss.self_calibration": 0.01,
    "loss.attribute_regression": 0.01,
    "loss.global_branch": 0.3,
    "optim.lr": 1e-3,
    "optim.epochs": 6,
    "optim.schedule": "cosine",
}
READINGS: dict[str, dict[str, Value]] = {
    "SIT joint, width 256": {"model.sit": "joint"},
    "SIT joint, width 64": {"model.sit": "joint", "model.sit_width": 64},
    **{
        f"SIT batch, width {width}": {"model.sit": "batch", "model.sit_width": width}
        for width in (512, 256, 128)
    },
    "SIT attr, width 256": {},
    "SIT attr, width 256, with an embedding": {"model.sit_embedding": True},
    "SIT joint, width 64, with an embedding": {
        "model.sit": "joint",
        "model.sit_width": 64,
        "model.sit_embedding": True,
    },
    "no SIT": {"model.sit": "none"},
}
TUNED: dict[str, Value] = {"tier": "finetuned", "finetune.lr": 1e-4, "optim.warmup": 0.5}


def store_of(photos: str, image_size: int) -> tuple[Path, Catalogue]:
    """Return the feature store of a real dataset, and its catalogue."""
    request = FeatureRequest(
        dataset="cub",
        data_root=str(real_data(photos)),
        features=FeatureConfig(image_size=image_size),
        results=ROOT / "results" / "benchmarks",
    )
    return prepared(Console(stderr=True), request)


def trained(config: RunConfig, store: Path, catalogue: Catalogue | None = None) -> Figures:
    """Return the figures of the best epoch of a run; with a catalogue, of the finetuned tier."""
    if catalogue is None:
        data = development.open_store(store, fold=config.fold, levels=config.model.levels)
        epochs = fit(config, data)
    else:
        backbone, _ = backbone_of(store)
        photos = open_photos(catalogue, backbone.preprocess, augment=config.finetune.augment)
        epochs = fit(config, photos, backbone=backbone)
    return max((epoch.metrics for epoch in epochs), key=lambda metrics: metrics["val/H"])


def shown(runs: list[Figures]) -> str:
    """Return mean and standard deviation of H and T1 in percent."""
    parts = []
    for name in ("H", "T1"):
        values = [100 * run[f"val/{name}"] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        parts.append(f"{name} {statistics.mean(values):.1f} ± {spread:.1f}")
    return ", ".join(parts)


def compared(
    pool: ProcessPoolExecutor, store: Path, rows: Mapping[str, RunConfig], seeds: int
) -> dict[str, list[Figures]]:
    """Return the figures of each row with so many seeds."""
    asked = {
        name: [pool.submit(trained, replace(config, seed=s), store) for s in range(seeds)]
        for name, config in rows.items()
    }
    made = {}
    for name, waiting in asked.items():
        made[name] = [run.result() for run in waiting]
        print(f"{store.name}, {name}: {shown(made[name])}", file=sys.stderr, flush=True)
    return made


def searched(
    pool: ProcessPoolExecutor, store: Path, rows: Mapping[str, RunConfig], count: int
) -> dict[str, RunConfig]:
    """Return each row with the best of the same settings for it, by H on fold 1."""
    tried = drawn(count)
    asked = {
        name: [pool.submit(trained, with_overrides(config, each), store) for each in tried]
        for name, config in rows.items()
    }
    best = {}
    for name, waiting in asked.items():
        values = [run.result()["val/H"] for run in waiting]
        own = tried[values.index(max(values))]
        print(f"{name}: {max(values):.3f} with {own or 'SETTINGS'}", file=sys.stderr, flush=True)
        best[name] = with_overrides(rows[name], own)
    return best


def interval(differences: list[float]) -> str:
    """Return the mean of paired differences in points, and its 95 % interval (Student's t)."""
    values = [100 * each for each in differences]
    if len(values) < 2:
        return f"{values[0]:+.1f}"
    low, high = t.interval(0.95, len(values) - 1, statistics.mean(values), sem(values))
    return f"{statistics.mean(values):+.1f} [{low:+.1f}, {high:+.1f}]"


def frozen(pool: ProcessPoolExecutor, seeds: int, *, quick: bool) -> Result:
    """Compare the parts of the network on stored features, each row with settings of its search.

    A row is trained on each fold with each seed; differences are of the same fold and seed.
    """
    photos, count, folds = ("cub2010_mini", 2, (1,)) if quick else ("cub2010_dev", 6, (1, 2, 3))
    store, _ = store_of(photos, 224)
    full = with_overrides(RunConfig(), SETTINGS | {"model.sit_width": 64})
    full = with_overrides(full, {"optim.epochs": 2} if quick else {})
    rows = searched(pool, store, {name: ablated(full, name) for name in ABLATIONS}, count)
    blocks = [(fold, seed) for fold in folds for seed in range(seeds)]
    made = {
        name: [pool.submit(trained, replace(c, fold=f, seed=s), store) for f, s in blocks]
        for name, c in rows.items()
    }
    runs = {name: [each.result() for each in asked] for name, asked in made.items()}
    figures: dict[str, object] = {}
    for name, found in runs.items():
        figures[f"{photos}, {name}"] = shown(found)
        pairs = list(zip(runs["full"], found, strict=True))
        for metric in ("H", "T1") if name != "full" else ():
            gaps = [one[f"val/{metric}"] - other[f"val/{metric}"] for one, other in pairs]
            figures[f"{photos}, full less {name}, {metric}"] = interval(gaps)
    lines = {
        fold: baselines.fit_baselines(development.open_store(store, fold=fold)) for fold in folds
    }
    for place, line in enumerate(lines[folds[0]]):
        figures[f"{photos}, {line.name}"] = shown(
            [found[place].metrics for found in lines.values()]
        )
    best = {fold: baselines.strongest(found).metrics for fold, found in lines.items()}
    for name in ("H", "T1"):
        gains = [
            run[f"val/{name}"] - best[fold][f"val/{name}"]
            for (fold, _), run in zip(blocks, runs["full"], strict=True)
        ]
        figures[f"{photos}, full less the strongest baseline, {name}"] = interval(gains)
    return figures, []


def readings(pool: ProcessPoolExecutor, seeds: int, *, quick: bool) -> Result:
    """Compare the transformer's readings where the dearest can be afforded."""
    store, _ = store_of("cub2010_mini", 224)
    epochs = 1 if quick else 6
    full = with_overrides(RunConfig(), SETTINGS | {"optim.epochs": epochs, "optim.batch_size": 16})
    asked = dict(list(READINGS.items())[4:]) if quick else READINGS
    rows = {name: with_overrides(full, changes) for name, changes in asked.items()}
    made = compared(pool, store, rows, seeds)
    return {f"cub2010_mini, {name}": shown(runs) for name, runs in made.items()}, []


def tiers(pool: ProcessPoolExecutor, seeds: int, *, quick: bool) -> Result:
    """Compare the two tiers: what they make of one setting, and how they rank many."""
    store, catalogue = store_of("cub2010_mini", 112)
    count, epochs = (3, 1) if quick else (12, 5)
    full = with_overrides(RunConfig(), SETTINGS | {"optim.epochs": epochs})
    drawn = [with_overrides(each, {"model.levels": "16+32"}) for each in points(count, epochs)]
    runs = [replace(full, seed=seed) for seed in range(seeds)] + drawn
    heads = [pool.submit(trained, config, store) for config in runs]
    whole = [pool.submit(trained, with_overrides(c, TUNED), store, catalogue) for c in runs]
    low, high = ([run.result() for run in asked] for asked in (heads, whole))
    values = [[m["val/H"] for m in each[seeds:]] for each in (low, high)]
    photos = "cub2010_mini at 112"
    figures: dict[str, object] = {
        f"{photos}, full, frozen": shown(low[:seeds]),
        f"{photos}, full, finetuned": shown(high[:seeds]),
        f"{photos}, {count} settings (their spread), frozen": shown(low[seeds:]),
        f"{photos}, {count} settings (their spread), finetuned": shown(high[seeds:]),
        "rank correlation of the tiers": round(float(spearmanr(*values).statistic), 3),
    }
    tuned, head = (statistics.mean(m["val/H"] for m in each[:seeds]) for each in (high, low))
    bar = Bar("finetuned above frozen, points of H", 100 * (tuned - head), -100 if quick else 0)
    return figures, [bar]


def main() -> None:
    """Run the comparisons, a run a process; print each as soon as it is made."""
    parser = flags(__doc__ or "")
    parser.add_argument("--only", choices=PARTS, help="one of the comparisons")
    parser.add_argument("--seeds", type=int, default=3, help="of each row; 1 with --quick")
    asked = parser.parse_args()
    seeds = 1 if asked.quick else asked.seeds
    real_data("cub2010_dev")
    figures: dict[str, object] = {}
    bars: list[Bar] = []
    with processes() as pool:
        for name in [asked.only] if asked.only else PARTS:
            found, more = PARTS[name](pool, seeds, quick=asked.quick)
            for key, value in found.items():
                print(f"{key}: {value}", file=sys.stderr, flush=True)
            figures, bars = figures | found, bars + more
    finish(figures, bars, asked.json)


PARTS = {"ablation": frozen, "transformer": readings, "tiers": tiers}

if __name__ == "__main__":
    main()
