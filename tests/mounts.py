"""Disks of their own for tests: as small, or as read-only, as a fault needs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """Mount a disk in memory at a folder for a `with` block; skips the test where it cannot be."""
    place.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", options, "tmpfs", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """Let nobody write to a folder for a `with` block, root neither."""
    _mount("--bind", place, place)
    try:
        _mount("-o", "remount,ro,bind", place)
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def _mount(*options: str | Path) -> None:
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk of its own needs the right to mount one: {done.stderr.strip()}")
