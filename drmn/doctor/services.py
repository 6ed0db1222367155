"""MLflow, and the ports that a head needs."""

import socket
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from drmn.doctor.finding import Finding
from drmn.tracking.uri import SQLITE, absolute

SERVER_TIMEOUT_S = 10.0
"""Seconds that a server has to answer."""
PORTS = {6379: "Ray's head", 8265: "Ray's dashboard", 5000: "MLflow"}


def mlflow(uri: str) -> Finding:
    """Return whether MLflow's store can be reached."""
    wrong = _server(uri) if uri.startswith("http") else _database(uri)
    remedy = "start it (python -m drmn.tracking serve), or give another --tracking-uri"
    return Finding(name="MLflow", found=wrong or f"{uri} answers", remedy=remedy if wrong else "")


def _server(uri: str) -> str:
    try:
        url = f"{uri.rstrip('/')}/health"
        with urllib.request.urlopen(url, timeout=SERVER_TIMEOUT_S) as answer:  # noqa: S310
            body = answer.read(100)
    except (OSError, ValueError) as problem:
        return f"{uri} does not answer ({getattr(problem, 'reason', problem)})"
    return "" if body == b"OK" else f"{uri} is no MLflow"


def _database(uri: str) -> str:
    """Return the error of a SQLite file of MLflow's; none if it is missing: MLflow creates it."""
    file = Path(absolute(uri).removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or not file.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            database.execute("SELECT count(*) FROM experiments")
    except sqlite3.Error as problem:
        return f"{file} is no database of MLflow's ({problem})"
    return ""


def ports() -> Iterator[Finding]:
    """Yield whether the ports of a head are free on this machine."""
    for port, whose in PORTS.items():
        taken = _taken(port)
        yield Finding(
            name=f"port {port}",
            found=f"taken; {whose} wants it" if taken else "free",
            remedy="end what holds it (ss -ltnp shows it), unless it is that already"
            if taken
            else "",
        )


def _taken(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
