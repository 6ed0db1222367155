"""Whatever a trial or a run reports of an epoch reaches MLflow, under its name."""

import sys

import pytest
from in_process import joined_ray
from mlflow import MlflowClient
from mlflow_store import new_store
from ray import cloudpickle
from studies import executor_config

from drmn.config import OptimConfig, RunConfig
from drmn.experiment.trial_task import TrialTask
from drmn.fields import flatten
from drmn.metric_names import COST
from drmn.search.callbacks.mlflow_run_logger import logger_of
from drmn.search.callbacks.study_metadata import StudyMetadata
from drmn.search.config import PolicyConfig
from drmn.search.executors.tune_executor import execute
from drmn.search.storage.studies import open_study
from drmn.search.study.ask_tell import AskTellStudy
from drmn.space import fixed_settings
from drmn.tracking.shipper import ship
from drmn.tracking.spool import open_spool

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers do not import tests
CONFIG = RunConfig(optim=OptimConfig(epochs=2))
ABOUT = StudyMetadata(
    experiment="toy", note="", data="1234", profile={"images": 3}, lines=[], code={}
)


class Gradients(TrialTask):
    """Epochs with a family of metrics that nothing in drmn knows."""

    def epochs(self, device, leave):
        del device, leave
        for epoch in (1, 2):
            metrics = {"val/H": 0.1 * epoch, "grad/head": 2.0 * epoch, COST: 0.5}
            yield {"epoch": epoch, "metrics": metrics}


@pytest.mark.parametrize(("kind", "runs"), [("studies", 2), ("runs", 1)])
def test_a_new_family_of_metrics_reaches_mlflow(tmp_path, kind, runs):
    folder = tmp_path / kind / "new"
    folder.mkdir(parents=True)
    policy = PolicyConfig(sampler="random", pruner="none")
    study = AskTellStudy(open_study(folder, flatten(CONFIG)), fixed_settings, CONFIG, policy)
    spool = open_spool(folder / "spool.db")
    logger = logger_of(spool, folder, study.record)
    logger.on_study_start(ABOUT)
    with joined_ray():
        execute(study, executor_config(study, folder, Gradients, callbacks=[logger]))
    assert [trial.state for trial in study.record.trial_summaries()] == ["COMPLETE"]
    logger.on_search_end("")
    uri = new_store(tmp_path)
    ship(spool, uri, closed=lambda: True)
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert len(found) == runs
    (trial,) = (run.info.run_id for run in found if "grad/head" in run.data.metrics)
    curve = client.get_metric_history(trial, "grad/head")
    assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 4.0)]
