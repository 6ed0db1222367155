"""A trial that lost its process with its machine is told from one that lost it alone."""

import socket
import threading
import time

import pytest
import ray
from ray.exceptions import RayActorError
from studies import executor_config, open_toy

from drmn.experiment.trial_task import TrialTask
from drmn.search.executors import trial_losses
from drmn.search.executors.trial_losses import TrialLosses
from drmn.search.trial_summary import LOST, MOVED


class Node:
    """A node that Ray takes for alive, and the socket of its raylet."""

    def __init__(self, name):
        self.name, self.raylet = name, socket.create_server(("127.0.0.1", 0))
        self.port = self.raylet.getsockname()[1]

    def row(self):
        address = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": self.port}
        return {"NodeID": self.name, "Alive": True, **address}


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.setattr(trial_losses, "NODE_TIMEOUT_S", 2.0)
    found = [Node("one"), Node("two")]
    monkeypatch.setattr(ray, "nodes", lambda: [node.row() for node in found])
    yield found
    for node in found:
        node.raylet.close()


def losses(folder):
    work = executor_config(open_toy(folder), folder, TrialTask)
    made = TrialLosses(open_toy(folder).record, work)
    made.on_trial_start("t", 0)
    return made


def test_a_machine_that_ray_still_takes_for_alive_is_gone_if_it_takes_no_connection(
    nodes, tmp_path
):
    made = losses(tmp_path)
    nodes[1].raylet.close()
    assert made.kind("t", RayActorError()) == MOVED


def test_a_machine_may_go_a_moment_after_its_processes(nodes, tmp_path):
    made = losses(tmp_path)
    threading.Timer(0.8, nodes[0].raylet.close).start()
    assert made.kind("t", RayActorError()) == MOVED


@pytest.mark.usefixtures("nodes")
def test_a_process_that_dies_alone_counts(tmp_path):
    assert losses(tmp_path).kind("t", RayActorError()) == LOST


def test_with_one_machine_nothing_is_waited_for(nodes, tmp_path):
    nodes.pop().raylet.close()
    made = losses(tmp_path)
    began = time.monotonic()
    assert made.kind("t", RayActorError()) == LOST
    assert time.monotonic() - began < trial_losses.NODE_TIMEOUT_S
