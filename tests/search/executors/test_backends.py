"""How many trials a cluster has room for, and who trains them."""

import pytest
import ray

from drmn.cluster import connect
from drmn.cluster.resources import ResourceConfig
from drmn.errors import ConfigError
from drmn.search.executors import backends


def node(*, alive=True, **resources):
    return {"Alive": alive, "Resources": {"memory": 1.0, **resources}}


@pytest.fixture
def have(monkeypatch):
    """Return a function that lets Ray have these nodes."""

    def nodes(*found):
        monkeypatch.setattr(ray, "nodes", lambda: list(found))

    return nodes


def test_a_worker_fits_on_one_node_or_not_at_all(have):
    have(node(CPU=3.0), node(CPU=3.0), node(CPU=8.0, alive=False))
    assert (
        connect.trial_slots(ResourceConfig(cpus=2), 0) == 2
    )  # not three, though six cores are there
    assert connect.trial_slots(ResourceConfig(cpus=1), 0) == 6
    assert connect.trial_slots(ResourceConfig(cpus=1), 4) == 4
    assert connect.trial_slots(ResourceConfig(cpus=1, workers=4), 0) == 1
    assert connect.trial_slots(ResourceConfig(cpus=0.5, workers=3), 0) == 4


def test_gpus_are_shared_by_fractions(have):
    have(node(CPU=4.0), node(CPU=16.0, GPU=2.0))
    assert connect.trial_slots(ResourceConfig(gpus=0.5), 0) == 4
    assert connect.trial_slots(ResourceConfig(gpus=1, workers=2), 0) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (ResourceConfig(cpus=5), "--cpus 5: the largest node of the cluster has 4 CPUs."),
        (ResourceConfig(gpus=1), "--gpus 1: the largest node of the cluster has 0 GPUs."),
        (
            ResourceConfig(workers=9),
            "--workers 9: the cluster has room for 8 workers of this size; use fewer",
        ),
    ],
)
def test_what_a_cluster_lacks_is_told(have, asked, words):
    have(node(CPU=4.0), node(CPU=4.0))
    with pytest.raises(ConfigError) as refused:
        connect.trial_slots(asked, 0)
    assert str(refused.value).startswith(words)


def test_the_backend_is_chosen_by_nodes_and_workers(have):
    have(node(CPU=4.0), node(), node(CPU=1.0, alive=False))  # a head without cores runs nothing
    assert backends.resolve(ResourceConfig()) == "inproc"
    assert backends.resolve(ResourceConfig(workers=2)) == "pool"
    assert backends.resolve(ResourceConfig(backend="trial")) == "trial"
    have(node(CPU=4.0), node(CPU=4.0))
    assert backends.resolve(ResourceConfig()) == "pool"


def test_several_workers_are_no_business_of_inproc():
    with pytest.raises(ConfigError, match="workers must be 1 with --backend inproc"):
        ResourceConfig(backend="inproc", workers=2)


def test_a_cluster_that_was_joined_is_asked_for_more_than_it_has(have, monkeypatch):
    have(node())  # a head alone: machines come when trials wait for them
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert connect.trial_slots(ResourceConfig(gpus=1), 8) == 8
    with pytest.raises(ConfigError, match=r"no machine for trials yet: give --budget\.at-once"):
        connect.trial_slots(ResourceConfig(gpus=1), 0)
    have(node(), node(CPU=2.0))
    assert connect.trial_slots(ResourceConfig(), 8) == 8
    assert connect.trial_slots(ResourceConfig(), 0) == 2
    with pytest.raises(ConfigError, match="the largest node of the cluster has 2 CPUs"):
        connect.trial_slots(ResourceConfig(cpus=3), 8)
