"""Tasks on several workers, as Ray Train starts them: processes that gloo joins."""

import multiprocessing
import os
import tempfile
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from pathlib import Path

import torch
import torch.distributed as dist

from drmn.config import ModelConfig, OptimConfig, RunConfig

CONFIG = RunConfig(
    model=ModelConfig(scale=3.0, sit_dropout=0.0),
    optim=OptimConfig(epochs=2, batch_size=18, lr=3e-3),
)


WORKERS = []
"""They stay for the next task: most of a short one would be to start them."""


def work(rank, group, task, arguments):
    torch.set_num_threads(1)
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    world, backend, folder = group
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    try:
        torch.save(task(*arguments), f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def on(world, task, *arguments, backend="gloo"):
    """Return what `task` gives on each of so many workers."""
    while len(WORKERS) < world:
        spawn = multiprocessing.get_context("spawn")
        WORKERS.append(ProcessPoolExecutor(1, mp_context=spawn))
    with tempfile.TemporaryDirectory() as folder:
        group = (world, backend, folder)
        asked = [WORKERS[n].submit(work, n, group, task, arguments) for n in range(world)]
        done, others = wait(asked, return_when=FIRST_EXCEPTION)
        if others:  # they wait for one that failed
            for worker in WORKERS:
                for process in worker._processes.values():
                    process.kill()
            WORKERS.clear()
        for each in done:
            each.result()
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(world)]
