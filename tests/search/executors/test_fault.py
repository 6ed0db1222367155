"""A trial's error is its own unless files that all trials read are at fault."""

import errno

import pytest
import torch.distributed as dist
from ray.exceptions import RayTaskError
from rich.console import Console
from toys import toy_catalogue

from drmn.data.feature_config import FeatureConfig
from drmn.errors import ConfigError, DataError, StoreFaultError
from drmn.prepare.job import FeatureRequest
from drmn.report import terminal
from drmn.search.executors.fault import fault_of, is_of_files, is_of_peer


def raised(error):
    """Return an error as Ray hands it on from the process where it was raised."""
    return RayTaskError("step", "Traceback\n", error).as_instanceof_cause()


FILES = [
    DataError("x/level-16.arrow: shard 3 is not as it was written."),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "x/level-16.arrow"),
    OSError(errno.EIO, "Input/output error", "x/level-16.arrow"),
    PermissionError(errno.EACCES, "Permission denied", "x"),
]
OWN = [
    ConfigError("model.levels 8+16: the features hold 32."),
    ValueError("loss is NaN"),
    RuntimeError("out of memory"),
    ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    MemoryError("Unable to allocate 1 TiB"),
    OSError(errno.ENOSPC, "No space left on device", "x"),  # waited for, which is another matter
]


@pytest.mark.parametrize("error", FILES, ids=repr)
def test_files_that_are_damaged_or_gone_are_no_trials_fault(error):
    for each in (error, raised(error)):
        assert is_of_files(each)
        said = str(fault_of(each))
        assert str(error).rstrip(".") in said
        assert said.endswith("; no trial failed by it, and the same command resumes them.")


@pytest.mark.parametrize("error", OWN, ids=repr)
def test_anything_else_is_the_trials_own_or_its_process(error):
    assert not is_of_files(error)
    assert not is_of_files(raised(error))
    assert not is_of_files(None)


GLOO = "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:29590"
PEERS = [
    RuntimeError(f"{GLOO}: Connection reset by peer. This is typically caused by a remote worker"),
    RuntimeError("Connection closed by peer [10.0.0.2]:4711"),
    dist.DistBackendError("NCCL communicator was aborted on rank 1."),
    dist.DistNetworkError("failed to recv, got 0 bytes"),
]


@pytest.mark.parametrize("error", PEERS, ids=repr)
def test_a_worker_whose_peer_is_gone_has_not_failed_its_trial(error):
    assert is_of_peer(error)


@pytest.mark.parametrize(
    "error",
    [
        *(*FILES, *OWN),
        dist.DistBackendError("NCCL error: Cuda failure 2 'out of memory'"),
    ],
    ids=repr,
)
def test_any_other_error_of_a_worker_is_not_of_its_peers(error):
    assert not is_of_peer(error)


def test_damaged_features_are_made_again_and_the_search_goes_on(monkeypatch, tmp_path, capsys):
    made, photos = [], toy_catalogue()
    request = FeatureRequest(
        dataset="demo", data_root="", features=FeatureConfig(), results=tmp_path
    )
    monkeypatch.setattr(terminal, "prepared", lambda *_: made.append(1) or (tmp_path, photos))

    def search(store, catalogue):
        if len(made) < 3:
            raise StoreFaultError(f"{store}: damaged.")
        return catalogue

    assert terminal.repaired(Console(), request, search) == (photos, tmp_path, photos)
    assert capsys.readouterr().out.count("damaged. The features are checked, and made again") == 2
    made.clear()

    def never(*_):
        raise StoreFaultError("damaged.")

    with pytest.raises(StoreFaultError):
        terminal.repaired(Console(), request, never)
    assert len(made) == terminal.REPAIRS + 1
