"""Jobs in this process, as a person runs them: command line in, output and exit status out.

Python, torch and what else a job imports take seconds to start. What a test says of a job's words
and results needs no process of its own; what it says of kills and signals does.
"""

import contextlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
from functools import cache
from unittest import mock

from paths import ROOT
from ray.cluster_utils import Cluster

from drmn import cli
from drmn.cluster.connect import ray_session

CLUSTERS = []


@cache
def _module(name):
    spec = importlib.util.spec_from_file_location(f"jobs_{name}", ROOT / "jobs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def _ray_address():
    """Return a Ray cluster of two cores for all jobs of this process: it takes long to start."""
    head = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}
    unused = {"include_log_monitor": False, "no_monitor": True}  # they would poll until the end
    with mock.patch.dict(os.environ, {"RAY_enable_metrics_collection": "0"}):
        CLUSTERS.append(Cluster(initialize_head=True, head_node_args=head | unused))
    return CLUSTERS[0].address


def stop_ray():
    """End the cluster: its processes would hold the pipes of this one, and xdist wait for them."""
    for cluster in CLUSTERS:
        cluster.shutdown()


@contextlib.contextmanager
def joined_ray():
    """Join the cluster of this process for a `with` block."""
    with mock.patch.dict(os.environ, {"RAY_ADDRESS": _ray_address()}), ray_session():
        yield


def run_job(name, folder, *arguments, ray=False):
    """Run a job in `folder`; return its output and exit status, as `subprocess.run` does.

    With `ray` it joins the cluster of this process. Without, it may start none: after a second Ray
    has ended, actors of the first are cancelled before they run.
    """
    module = _module(name)
    job = getattr(module, f"{name.capitalize()}Job")
    argv = [f"jobs/{name}.py", *map(str, arguments)]
    out, err, status = io.StringIO(), io.StringIO(), 0
    handler = signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ, {"RAY_ADDRESS": _ray_address()} if ray else {}),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.run(module.main, job, getattr(module, "COMMON", None))
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
    return subprocess.CompletedProcess(argv, status, out.getvalue(), err.getvalue())
