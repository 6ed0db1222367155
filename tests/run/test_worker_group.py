"""The workers of a run, against the cluster they are to run on."""

import re

import pytest

from drmn.cluster.resources import WorkerGroupConfig
from drmn.errors import ConfigError
from drmn.experiment.config import PicturesConfig


@pytest.mark.parametrize(
    ("group", "have"),
    [
        (WorkerGroupConfig(), {"CPU": 1}),
        (WorkerGroupConfig(least=2, most=8, cpus=2), {"CPU": 4}),  # room for the least is enough
        (WorkerGroupConfig(least=3, gpus=0.5), {"CPU": 4, "GPU": 2}),
    ],
)
def test_a_group_that_fits_is_let_through(group, have):
    group.check(have)


@pytest.mark.parametrize(
    ("group", "have", "words"),
    [
        (
            WorkerGroupConfig(least=3),
            {"CPU": 2},
            "--workers 3: they need 3 CPUs and the cluster has 2",
        ),
        (
            WorkerGroupConfig(gpus=1),
            {"CPU": 2},
            "--workers 1: they need 1 GPUs and the cluster has 0",
        ),
    ],
)
def test_a_group_that_would_wait_for_ever_is_refused(group, have, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        group.check(have)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"least": 0}, "workers must be positive; got 0."),
        ({"cpus": 0}, "cpus must be positive; got 0."),
        ({"gpus": -1}, "gpus must be 0 or more; got -1."),
        ({"failures": -1}, "failures must be 0 or more; got -1."),
    ],
)
def test_a_bad_setting_is_refused_by_name(settings, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        WorkerGroupConfig(**settings)


def test_pictures_cannot_be_drawn_every_minus_one_epochs():
    with pytest.raises(ConfigError, match=r"pictures.every must be 0 or more; got -1\."):
        PicturesConfig(every=-1)
