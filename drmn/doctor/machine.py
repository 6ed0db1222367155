"""Facts of a machine; the code is sent to each node of a cluster, so it imports little."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from drmn.data.store.feature_store import MANIFEST
from drmn.data.store.local_copy import scratch
from drmn.experiment import code_digest as code

NVIDIA = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Versions, hardware and folders of a machine."""

    python: str
    ray: str
    torch: str
    built_for: str
    """The CUDA that torch was built for; empty for none."""
    gpus: int
    """Number of GPUs that torch can use."""
    drivers: tuple[str, ...]
    """Versions of NVIDIA's driver, one per GPU of the system."""
    code: str
    """The digest of the code that decides a trial."""
    free: int
    """Free bytes of the disk for local copies, or else for the results."""
    stores: Mapping[str, str]
    """The digest of each feature store's manifest: local copies, and those among results."""
    shared: str
    """Error of the folder of results; empty for none."""
    now: float


def facts(results: Path, word: str = "") -> Facts:
    """Return the facts of this machine.

    Args:
        results: The folder that all machines should share.
        word: Name of the file `mark(results, word)` that another machine wrote; empty for this
            machine alone.
    """
    return Facts(
        python=platform.python_version(),
        ray=version("ray") if importlib.util.find_spec("ray") else "",
        torch=torch.__version__,
        built_for=torch.version.cuda or "",
        gpus=torch.cuda.device_count(),
        drivers=_drivers(),
        code=code.digest(),
        free=shutil.disk_usage(_there(scratch() or results)).free,
        stores=_stores(results),
        shared=_shared(results, word),
        now=time.time(),
    )


def mark(results: Path, word: str) -> Path:
    """Return the file that shows whether machines share a folder."""
    return results / f".doctor-{word}"


def _drivers() -> tuple[str, ...]:
    if shutil.which(NVIDIA[0]) is None:
        return ()
    done = subprocess.run(NVIDIA, capture_output=True, text=True, check=False, timeout=30)
    return tuple(done.stdout.split()) if done.returncode == 0 else ("not answering",)


def _there(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _stores(results: Path) -> Mapping[str, str]:
    near = scratch()
    roots = {"own copy of ": near, "": results / "features"}
    return {
        f"{kind}{file.parent.name}": hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for kind, root in roots.items()
        if root is not None
        for file in sorted(root.glob(f"[!.]*/{MANIFEST}"))
    }


def _shared(results: Path, word: str) -> str:
    """Return why this machine cannot read what another wrote, or write beside it."""
    if word and not mark(results, word).is_file():
        return f"{results.absolute()} is another folder than on the machine that asks"
    try:
        trial = _there(results) / f".doctor-{platform.node()}-{os.getpid()}"
        trial.write_text(word)
        trial.unlink()
    except OSError as problem:
        return f"{results.absolute()} cannot be written to ({problem.strerror})"
    return ""
