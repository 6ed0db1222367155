"""What needs a GPU: skipped where there is none."""

import pytest
import torch
from processes import CONFIG, on

from drmn import distributed
from drmn.data.splits import development
from drmn.fields import with_overrides
from drmn.training.loop import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def trained(folder, config):
    data = development.open_store(folder)
    *_, last = fit(config, data, device=f"cuda:{distributed.rank()}")
    return last.metrics, last.costs


def test_gpus_joined_by_nccl_learn_what_the_cpu_does(toy_store, toy):
    config = with_overrides(CONFIG, {"compute.precision": "fp32", "model.sit": "batch"})
    *_, expected = fit(config, toy)
    every = torch.cuda.device_count()
    for metrics, costs in on(every, trained, toy_store, config, backend="nccl"):
        assert metrics["loss/total"] == pytest.approx(expected.metrics["loss/total"], rel=1e-3)
        assert costs["cost/device_memory_mb"] > 0
