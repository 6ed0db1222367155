"""SUN: 717 scenes, 102 attributes, 20 photos a class.

Run:    python jobs/tune.py --dataset sun --data-root DIR
Found:  nothing yet. Add a line per study: date, H on validation, study.

Frozen features of a small backbone. The SIT in its `joint` reading is left out, as for CUB.
"""

from drmn.space import Constants, Trial


def space(trial: Trial) -> Constants:
    """Search the loss weights, the fused levels, the calibration, the block and the optimiser."""
    if trial.suggest_categorical("model.levels", ["16+32", "32", "8+16+32"]) != "32":
        trial.suggest_categorical("model.fusion", ["add", "concat"])
    trial.suggest_categorical("model.channel_attention", [True, False])
    trial.suggest_categorical("model.attribute_scores", ["bilinear", "prototype", "own"])
    if trial.suggest_categorical("model.sit", ["none", "attr", "batch"]) != "none":
        trial.suggest_float("model.sit_dropout", 0.1, 0.7)
    # 580 training classes want sharper logits than CUB's 100.
    trial.suggest_float("model.scale", 3.5, 9.0)
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
    return {"optim.epochs": 15, "optim.schedule": "cosine", "model.width": 256}
