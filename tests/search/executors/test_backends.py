"""How many trials a cluster has room for, and who trains them."""

import pytest
import ray

from drmn.cluster import connect
from drmn.cluster.resources import EngineConfig
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
    assert connect.places(EngineConfig(cpus=2), 0) == 2  # not three, though six cores are there
    assert connect.places(EngineConfig(cpus=1), 0) == 6
    assert connect.places(EngineConfig(cpus=1), 4) == 4
    assert connect.places(EngineConfig(cpus=1, workers=4), 0) == 1
    assert connect.places(EngineConfig(cpus=0.5, workers=3), 0) == 4


def test_gpus_are_shared_by_fractions(have):
    have(node(CPU=4.0), node(CPU=16.0, GPU=2.0))
    assert connect.places(EngineConfig(gpus=0.5), 0) == 4
    assert connect.places(EngineConfig(gpus=1, workers=2), 0) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (EngineConfig(cpus=5), "--cpus 5: the largest node of the cluster has 4 CPUs."),
        (EngineConfig(gpus=1), "--gpus 1: the largest node of the cluster has 0 GPUs."),
        (
            EngineConfig(workers=9),
            "--workers 9: the cluster has room for 8 workers of this size; use fewer",
        ),
    ],
)
def test_what_a_cluster_lacks_is_told(have, asked, words):
    have(node(CPU=4.0), node(CPU=4.0))
    with pytest.raises(ConfigError) as refused:
        connect.places(asked, 0)
    assert str(refused.value).startswith(words)


def test_the_engine_is_chosen_by_nodes_and_workers(have):
    have(node(CPU=4.0), node(), node(CPU=1.0, alive=False))  # a head without cores runs nothing
    assert backends.chosen(EngineConfig()) == "inproc"
    assert backends.chosen(EngineConfig(workers=2)) == "pool"
    assert backends.chosen(EngineConfig(engine="trial")) == "trial"
    have(node(CPU=4.0), node(CPU=4.0))
    assert backends.chosen(EngineConfig()) == "pool"


def test_several_workers_are_no_business_of_inproc():
    with pytest.raises(ConfigError, match="workers must be 1 with --engine inproc"):
        EngineConfig(engine="inproc", workers=2)


def test_a_cluster_that_was_joined_is_asked_for_more_than_it_has(have, monkeypatch):
    have(node())  # a head alone: machines come when trials wait for them
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert connect.places(EngineConfig(gpus=1), 8) == 8
    with pytest.raises(ConfigError, match=r"no machine for trials yet: give --budget\.at-once"):
        connect.places(EngineConfig(gpus=1), 0)
    have(node(), node(CPU=2.0))
    assert connect.places(EngineConfig(), 8) == 8
    assert connect.places(EngineConfig(), 0) == 2
    with pytest.raises(ConfigError, match="the largest node of the cluster has 2 CPUs"):
        connect.places(EngineConfig(cpus=3), 8)
