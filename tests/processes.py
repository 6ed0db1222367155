"""Tasks on several workers, as Ray Train starts them: processes that gloo joins."""

import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def work(rank, group, task, arguments):
    torch.set_num_threads(1)
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    world, backend, folder = group
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    torch.save(task(*arguments), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def on(world, task, *arguments, backend="gloo"):
    """Return what `task` gives on each of so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        group = (world, backend, folder)
        mp.start_processes(work, args=(group, task, arguments), nprocs=world, start_method="spawn")
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(world)]
