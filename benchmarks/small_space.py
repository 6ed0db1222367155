"""The few settings that each row of an ablation is searched over."""

import optuna

from drmn.space import Value


def small_space(trial: optuna.Trial) -> dict[str, Value]:
    """Suggest what suits a row: the optimiser, the sharpness of the logits, the loss weights."""
    return {
        "optim.lr": trial.suggest_float("optim.lr", 3e-4, 5e-3, log=True),
        "optim.weight_decay": trial.suggest_float("optim.weight_decay", 1e-6, 1e-2, log=True),
        "model.scale": trial.suggest_float("model.scale", 3.0, 7.0),
        "loss.global_branch": trial.suggest_float("loss.global_branch", 0.03, 3.0, log=True),
        "loss.attribute_regression": trial.suggest_categorical("attributes", [0.0, 0.003, 0.03]),
    }


def drawn(count: int) -> list[dict[str, Value]]:
    """Return the settings that every row tries: `SETTINGS`, and others drawn at random."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [{}, *(small_space(study.ask()) for _ in range(count - 1))]
