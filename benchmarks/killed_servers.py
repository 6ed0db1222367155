"""Servers that are killed beside the jobs that use them, and started again (`kills.py`)."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from killed_jobs import Process
from mlflow import MlflowClient
from servers import Server


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, Callable[[Process], int]]]:
    """Run a server of MLflow; give its URI and a kill that starts it again at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = f"sqlite:///{folder}/server.db"
    MlflowClient(store).search_experiments()  # makes the database
    place = ("--uri", store, "--port", str(port))
    command = [sys.executable, "-m", "drmn.tracking", "serve", *place]
    running: list[Process] = []

    def start() -> None:
        with (folder / "server.log").open("ab") as log:
            running[:] = [subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)]

    def end() -> None:
        found = [*psutil.Process(running[0].pid).children(recursive=True), running[0]]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        running[0].wait()

    def kill(_: Process) -> int:
        end()
        start()
        return 1

    start()
    try:
        yield f"http://127.0.0.1:{port}", kill
    finally:
        end()


def kill_postgres(server: Server, _: Process) -> int:
    """Kill PostgreSQL, with all its processes, and start it again."""
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.stop(signal.SIGKILL)
    server.start()
    return 1
