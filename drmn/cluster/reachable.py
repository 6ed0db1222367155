"""Checks that Ray can start or be joined, in seconds, before any work is done for it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile

from drmn.errors import ConfigError, last_line
from drmn.units import MEGABYTE

TIMEOUT_S = 5.0
"""Seconds that the head of a cluster has to accept a connection."""
MAX_SOCKET_PATH = 107
"""Bytes of a socket's path, by Linux."""
SESSION = "/ray/session_2026-11-28_17-24-00_123456_1234567/sockets/plasma_store"
"""A socket of Ray below the folder for temporary files, with a process id of seven digits."""

LEAST_ROOM = 100 * MEGABYTE
"""Bytes that Ray's logs and sockets, and what finds no room in /dev/shm, may take at first."""
ANSWER_S = 15
"""Seconds that the head has to tell its versions."""
ASK_VERSIONS = f"""
import json, signal, sys
from ray._common.usage.usage_lib import get_cluster_metadata
from ray._raylet import GcsClient
signal.alarm({ANSWER_S})
print(json.dumps(get_cluster_metadata(GcsClient(address=sys.argv[1]))))
"""
"""Program of a process that asks a head for the versions of its cluster: it may get no answer."""


def check_ray() -> None:
    """Raise `ConfigError` if no cluster that can be joined is at RAY_ADDRESS, or none can start.

    Then Ray's sockets would have too long a path, or its files no room.

    Ray itself waits for minutes, and says so in many lines.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if not address or address == "local":
        _check_folder()
    elif address != "auto":
        _check_address(address)


def _check_address(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(
            f"RAY_ADDRESS={address}: give the head's address and port, such as 10.0.0.1:6379."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S).close()
    except (OSError, OverflowError) as problem:
        raise ConfigError(
            f"RAY_ADDRESS={address}: no Ray answers there ({problem}); start its head again, or "
            "unset RAY_ADDRESS to use this machine."
        ) from None
    if not address.startswith("ray://"):
        _check_versions(address)


@cache
def _check_versions(address: str) -> None:
    """Raise `ConfigError` unless the cluster runs this Ray and this Python; asked once."""
    command = [sys.executable, "-c", ASK_VERSIONS, address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        silent = done.returncode == -signal.SIGALRM
        why = f"no answer in {ANSWER_S} s" if silent else _last(done.stderr)
        raise ConfigError(
            f"RAY_ADDRESS={address}: what listens there is no head of Ray ({why}); give the port "
            "of its GCS, mostly 6379, or unset RAY_ADDRESS to use this machine."
        )
    there = json.loads(done.stdout.splitlines()[-1])
    theirs = f"Ray {there['ray_version']} on Python {there['python_version']}"
    ours = f"Ray {version('ray')} on Python {'.'.join(map(str, sys.version_info[:3]))}"
    if theirs != ours:
        raise ConfigError(
            f"RAY_ADDRESS={address}: the cluster runs {theirs}, and this is {ours}; both have to "
            "be the same: install them here, or start the cluster from this environment."
        )


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it ended without a word"])[-1]


def _check_folder() -> None:
    name, folder = _folder()
    size = len(os.fsencode(folder + SESSION))
    if size > MAX_SOCKET_PATH:
        most = MAX_SOCKET_PATH - len(SESSION)
        raise ConfigError(
            f"{name}={folder}: Ray's sockets would have paths of {size} bytes, and Linux allows "
            f"{MAX_SOCKET_PATH}; set RAY_TMPDIR to a folder of at most {most}, such as /tmp."
        )
    remedy = "set RAY_TMPDIR to another folder, with a short path"
    try:
        place = Path(folder, "ray")
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as problem:
        raise ConfigError(
            f"{name}={folder}: Ray cannot write there ({problem.strerror}); {remedy}."
        ) from None
    if free < LEAST_ROOM:
        raise ConfigError(
            f"{name}={folder}: {free / MEGABYTE:.0f} MB are free, too few for Ray's files; make "
            f"room, or {remedy}."
        )


def _folder() -> tuple[str, str]:
    """Return the variable that names the folder for Ray's own files, and the folder."""
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    return name, os.environ.get(name, "/tmp")  # noqa: S108 - where Ray's own files go


def not_started(problem: Exception) -> ConfigError:
    """Return the error of a cluster that could not be joined or started, in a sentence."""
    why = last_line(problem).rstrip(".")
    if address := os.environ.get("RAY_ADDRESS"):
        return ConfigError(
            f"RAY_ADDRESS={address}: Ray could not be joined ({why}); start its head again, or "
            "unset RAY_ADDRESS to use this machine."
        )
    folder = _folder()[1]
    memory, disk = (_free(place) for place in ("/dev/shm", folder))  # noqa: S108
    return ConfigError(
        f"Ray did not start on this machine ({why}): /dev/shm has {memory} free, {folder} {disk}, "
        f"and its logs are in {folder}/ray/session_latest/logs; make room, or try again when the "
        "machine is less busy."
    )


def _free(folder: str) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / MEGABYTE:.0f} MB"
    except OSError:
        return "nothing"
