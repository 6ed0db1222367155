"""Trees of runs: spooled, shipped, and looked at in MLflow."""

from mlflow import MlflowClient

from drmn.tracking import events
from drmn.tracking.shipper import ship

EPOCHS, TRIALS = 4, 3
BEGUN = 1_790_000_000.0


def begin(spool, params=(), tags=(), name="s"):
    spool.put(*events.study(name, name, "toy", dict(params), dict(tags), at=BEGUN))


def fill(spool, name="s"):
    begin(spool, {"policy.sampler": "tpe"}, {"kind": "study"}, name)
    for trial in range(TRIALS):
        run = f"{name}/{trial:04d}"
        told = (name, run, f"{name}/{trial}", {"optim.lr": 0.1}, {"state": "RUNNING"})
        spool.put(*events.child(*told, at=BEGUN + trial))
        for epoch in range(1, EPOCHS + 1):
            at = BEGUN + trial + epoch / 100
            spool.put(*events.metrics(run, {"val/H": trial + epoch / 10}, epoch, at))
        state = ("COMPLETE", "PRUNED", "FAIL")[trial]
        failed = state == "FAIL"
        spool.put(*events.end(run, {"state": state}, failed=failed, at=BEGUN + trial + 1))
    spool.put(*events.end(name, {}))


def ship_all(spool, uri):
    ship(spool, uri, closed=lambda: True)


def runs(uri, name="s"):
    """Return the runs of a study, each there once."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("toy")
    found = client.search_runs([experiment.experiment_id])
    keys = [run.data.tags["drmn.run"] for run in found]
    assert len(set(keys)) == len(keys)
    by_key = dict(zip(keys, found, strict=True))
    return {key: run for key, run in by_key.items() if key.split("/")[0] == name}


def check_tree(uri, name="s"):
    """Each thing is there exactly once."""
    tree = runs(uri, name)
    assert sorted(tree) == [name, *(f"{name}/000{trial}" for trial in range(TRIALS))]
    client = MlflowClient(uri)
    for trial in range(TRIALS):
        run = tree[f"{name}/000{trial}"]
        assert run.data.tags["mlflow.parentRunId"] == tree[name].info.run_id
        history = client.get_metric_history(run.info.run_id, "val/H")
        told = sorted((point.step, point.value) for point in history)
        assert told == [(epoch, trial + epoch / 10) for epoch in range(1, EPOCHS + 1)]
