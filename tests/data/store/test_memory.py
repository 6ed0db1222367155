"""Memory: one copy of the features for all processes of a node, and never all of them in one."""

import os
import resource
import subprocess
import sys
from multiprocessing import get_context

import psutil
import pytest
import torch
from feature_stores import a_store
from paths import ROOT

from drmn.data.store import feature_store

READERS = 4
MB = 1 << 20


def grown(folder, together, results):
    """Put how much this process grew by reading all of a store; shared pages count in part."""
    level = feature_store.read(folder).levels[32]
    process = psutil.Process()
    together.wait()  # all share what they have imported
    before = process.memory_full_info().pss
    together.wait()
    for rows in torch.arange(level.shape[0]).split(64):
        level.rows(rows)
    together.wait()  # all have all of it mapped
    results.put(process.memory_full_info().pss - before)
    together.wait()


def test_four_processes_share_one_copy(tmp_path):
    folder = a_store(tmp_path, 1000, (49, 4096))  # 383 MB
    size = (folder / "level-32.arrow").stat().st_size
    processes = get_context("forkserver")
    processes.set_forkserver_preload([feature_store.__name__])  # one import of torch for all
    barrier, results = processes.Barrier(READERS), processes.Queue()
    readers = [
        processes.Process(target=grown, args=(folder, barrier, results)) for _ in range(READERS)
    ]
    for reader in readers:
        reader.start()
    together = sum(results.get(timeout=120) for _ in readers)
    for reader in readers:
        reader.join()
    # One copy, and some megabytes of its own for each; a copy each would be four.
    assert 0.9 * size < together < 1.5 * size


STREAM = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {path!r})
import torch
from feature_stores import a_store
from drmn.data.store import feature_store
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_DATA, ({limit}, {limit}))
folder = a_store(Path(sys.argv[1]), 3000, (196, 2048))
level = feature_store.read(folder).levels[32]
size = (folder / "level-32.arrow").stat().st_size
for rows in torch.randperm(3000).split(32):
    maps = level.rows(rows)
    assert torch.equal(maps[:, 0, 0].float(), rows // level.per_shard % 256)
print(size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts private memory on Linux")
def test_a_store_larger_than_the_memory_limit_is_written_and_read(tmp_path):
    """AwA2's full maps, 2048 x 14 x 14, cut to fewer images: written, verified and read."""
    limit = 1600 * MB  # a third of it for the data, the rest is torch
    code = STREAM.replace("{path!r}", repr(str(ROOT / "tests"))).replace("{limit}", str(limit))
    # Arrow's own allocator reserves a gigabyte that it never uses.
    env = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 1.4 * limit
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
