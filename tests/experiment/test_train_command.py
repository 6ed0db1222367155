"""The command that trains a trial again: its data, features, workers, results and settings."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path

from drmn.cluster.resources import ResourceConfig
from drmn.config import RunConfig
from drmn.data.feature_config import FeatureConfig
from drmn.experiment.train_command import arguments, command, data_options
from drmn.fields import flatten
from drmn.flags import given


@dataclass(frozen=True)
class Job:
    dataset: str = "cub"
    data_root: str = "data"
    features: FeatureConfig = field(default_factory=FeatureConfig)
    resources: ResourceConfig = field(default_factory=ResourceConfig)
    results: Path = Path("results")
    storage: str = ""


def test_options_name_data_and_features_and_workers_that_change_sums():
    features = FeatureConfig(backbone="resnet50", image_size=448, views=2)
    workers = ResourceConfig(workers=2, cpus=3, backend="pool", failures=9)
    places = {"results": Path("elsewhere"), "storage": "postgresql://me@server/drmn"}
    asked = Job(data_root="/my data", features=features, resources=workers, **places)
    assert data_options(asked) == {
        "dataset": "cub",
        "data_root": "/my data",
        "results": "elsewhere",
        "storage": "postgresql://me@server/drmn",
        "backbone": "resnet50",
        "image_size": 448,
        "levels": "8+16+32",
        "views": 2,
        "workers": 2,
        "cpus": 3,
    }


def test_the_demo_has_no_root_and_a_file_of_features_no_backbone():
    assert data_options(Job(dataset="demo")) == {
        "dataset": "demo",
        "backbone": "tf_efficientnet_lite0",
        "levels": "8+16+32",
    }
    imported = data_options(Job(features=FeatureConfig(hdf5="a.hdf5")))
    assert imported == {"dataset": "cub", "data_root": "data", "hdf5": "a.hdf5"}


def test_a_command_has_every_setting_and_survives_a_shell():
    settings = flatten(RunConfig())
    text = command(arguments({"dataset": "own", "data_root": "it's mine; rm"}, settings))
    python, job, *rest = shlex.split(text)
    assert (python, job) == ("python", "jobs/train.py")
    assert given(rest) == {
        "dataset": "own",
        "data_root": "it's mine; rm",
        **{name: str(value) for name, value in settings.items()},
    }
