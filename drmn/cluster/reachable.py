"""Checks that Ray can start or be joined, in seconds, before any work is done for it."""

import os
import socket

from drmn.errors import ConfigError

TIMEOUT_S = 5.0
"""Seconds that the head of a cluster has to accept a connection."""
MAX_SOCKET_PATH = 107
"""Bytes of a socket's path, by Linux."""
SESSION = "/ray/session_2026-11-28_17-24-00_123456_1234567/sockets/plasma_store"
"""A socket of Ray below the folder for temporary files, with a process id of seven digits."""


def check_ray() -> None:
    """Raise `ConfigError` if RAY_ADDRESS is dead, or Ray's sockets would have too long a path.

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


def _check_folder() -> None:
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    folder = os.environ.get(name, "/tmp")  # noqa: S108 - where Ray's own files go
    size = len(os.fsencode(folder + SESSION))
    if size > MAX_SOCKET_PATH:
        most = MAX_SOCKET_PATH - len(SESSION)
        raise ConfigError(
            f"{name}={folder}: Ray's sockets would have paths of {size} bytes, and Linux allows "
            f"{MAX_SOCKET_PATH}; set RAY_TMPDIR to a folder of at most {most}, such as /tmp."
        )
