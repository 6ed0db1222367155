"""A dataset of your own: a space to start from; copy it and make it yours (--space FILE).

Run:    python jobs/tune.py --dataset own --data-root DIR --study NAME

"""

from drmn.space import Constants, Trial


def space(trial: Trial) -> Constants:
    """Search the loss weights, the fused levels, the calibration, the block and the optimiser."""
    trial.suggest_categorical("model.levels", ["16+32", "32", "8+16+32"])
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    trial.suggest_categorical("model.channel_attention", [True, False])
    if trial.suggest_categorical("model.sit", ["none", "attr"]) != "none":
        trial.suggest_float("model.sit_dropout", 0.1, 0.7)
    # Logits are scale² times a cosine, so the scale sets how sharp each loss is.
    trial.suggest_float("model.scale", 3.0, 6.0)
    trial.suggest_float("loss.self_calibration", 0.001, 1.0, log=True)
    trial.suggest_float("loss.attribute_regression", 0.001, 1.0, log=True)
    trial.suggest_float("loss.global_branch", 0.03, 3.0, log=True)
    trial.suggest_float("optim.lr", 3e-4, 5e-3, log=True)
    trial.suggest_float("optim.weight_decay", 1e-6, 1e-3, log=True)
    return {"optim.epochs": 10, "optim.schedule": "cosine", "model.width": 256}
