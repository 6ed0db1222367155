"""CUB: 200 bird species, 312 attributes, about 60 photos a class.

Run:    python jobs/tune.py --dataset cub --data-root DIR --views 3
Found:  2026-11-23, cub2010_dev (150 of the classes, 4,513 photos), fold 1, 24 trials: validation H
        53.6 ± 3.3, ESZSL 44.4. Add a line a study.
        2026-11-27, the same with `curves`: 55.4 ± 3.1. Since 2026-11-28 the space is wider, and
        ESZSL is tuned harder.
        2026-11-29, 24 trials on each fold (benchmarks/folds.py): 54.8, 56.8, 55.4; the strongest
        baselines 50.7 (ESZSL), 53.6 and 52.2 (softmax). Another search of fold 1 had 57.6.
        The same day with --views 3, 15 epochs and without the transformer: 57.2, 56.7, 56.0. Since
        then the space is so.

Frozen features of a small backbone (tf_efficientnet_lite0 at 224 px). The transformer (SIT) is left
out: in the ablation it costs 1.0 H (docs/training.md). To search it too, ask for "model.sit" among
"none" and "attr"; `joint` takes 33 times a step without it at a width of 256.
"""

from drmn.space import Constants, Trial


def space(trial: Trial) -> Constants:
    """Search the loss weights, the fused levels, the calibration, the block and the optimiser."""
    if trial.suggest_categorical("model.levels", ["16+32", "32", "8+16+32"]) != "32":
        trial.suggest_categorical("model.fusion", ["add", "concat"])
    trial.suggest_categorical("model.channel_attention", [True, False])
    trial.suggest_categorical("model.attribute_scores", ["bilinear", "prototype", "own"])
    trial.suggest_categorical("model.prototypes", ["normal", "words"])
    # Logits are scale² times a cosine, so the scale sets how sharp each loss is.
    trial.suggest_float("model.scale", 3.0, 9.0)
    # Kept off the unseen classes by a cross-entropy over all, they need self-calibration.
    if trial.suggest_categorical("loss.classes", ["seen", "all"]) == "all":
        trial.suggest_float("loss.self_calibration", 0.01, 3.0, log=True)
    trial.suggest_categorical("loss.attribute_regression", [0.0, 0.003, 0.03, 0.3])
    trial.suggest_float("loss.global_branch", 0.03, 3.0, log=True)
    trial.suggest_float("optim.lr", 3e-4, 5e-3, log=True)
    trial.suggest_float("optim.weight_decay", 1e-6, 1e-2, log=True)
    trial.suggest_categorical("optim.batch_size", [32, 16, 64])
    trial.suggest_categorical("optim.averaging", [0.0, 0.98])
    # Asked for where the features have augmented views: --views 3.
    trial.suggest_categorical("optim.views", [True, False])
    return {
        "optim.epochs": 15,
        "optim.schedule": "cosine",
        "model.width": 256,
        "model.sit": "none",
    }
