"""A space for tests: seconds a trial."""


def space(trial):
    trial.suggest_float("optim.lr", 1e-3, 1e-2, log=True)
    trial.suggest_categorical("model.fusion", ["add", "concat"])
    return {"optim.epochs": 3, "model.sit": "none", "model.width": 16, "model.scale": 2.0}
