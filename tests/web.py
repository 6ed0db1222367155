"""Servers that tests start: on a free port of this machine, ended with all that they started."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def running(command, log, environment=()):
    """Run a server for a `with` block, its output in the file `log`."""
    with log.open("ab") as file:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=os.environ | dict(environment),
            start_new_session=True,
        )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(server.pid, signal.SIGKILL)  # a session of its own, so nobody else's
        server.wait()


def until(true, seconds, server=None):
    """Wait until something is true; fail if it is not in time, or if the server has ended."""
    end = time.monotonic() + seconds
    while not true():
        assert server is None or server.poll() is None, "the server has ended: see its log"
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(0.2)


def answers(url):
    """Return whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
