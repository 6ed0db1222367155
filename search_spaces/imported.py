"""Features from an HDF5 file (docs/hdf5.md): one level, mostly 2,048 channels at 14 x 14 regions.

Run:    python jobs/tune.py --dataset cub --hdf5 FILE --data-root DIR --study NAME

One level leaves nothing to fuse. `model.prototypes` stays out: not every file has word vectors.
"""

from drmn.space import Constants, Trial


def space(trial: Trial) -> Constants:
    """Search the loss weights, the calibration, the block and the optimiser."""
    trial.suggest_categorical("model.channel_attention", [True, False])
    trial.suggest_categorical("model.attribute_scores", ["bilinear", "prototype", "own"])
    if trial.suggest_categorical("model.sit", ["none", "attr"]) != "none":
        trial.suggest_float("model.sit_dropout", 0.1, 0.7)
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
    return {
        "optim.epochs": 10,
        "optim.schedule": "cosine",
        "model.width": 256,
        "model.levels": "32",
    }
