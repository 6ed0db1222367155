"""Provenance of a study or run, its code and libraries: tags and files for MLflow."""

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from drmn.io import atomic

REPOSITORY = Path(__file__).parents[2]
PROVENANCE = "provenance"
"""Folder of provenance files, in a study's or run's folder and in MLflow's artifacts."""


def tags(root: Path = REPOSITORY) -> Mapping[str, str]:
    """Return the git commit of our code and whether it was changed since; nothing without git."""
    commit = _git(root, "rev-parse", "HEAD").strip()
    if not commit:
        return {}
    dirty = bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())
    # The first is MLflow's own name: the UI shows it as the version of a run.
    return {"mlflow.source.git.commit": commit, "git.dirty": str(dirty).lower()}


def files(folder: Path, root: Path = REPOSITORY) -> list[Path]:
    """Write the libraries' versions, and what git has not committed, below `folder`."""
    place = folder / PROVENANCE
    place.mkdir(parents=True, exist_ok=True)
    texts = {"environment.txt": _libraries()}
    if changed := _git(root, "diff", "HEAD"):
        texts["uncommitted.diff"] = changed
    for name, text in texts.items():
        atomic.write(place / name, text)
    return [place / name for name in texts]


@cache
def _libraries() -> str:
    """Return the libraries of this process and their versions, a line each."""
    found = {f"{each.name}=={each.version}" for each in distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints; empty where there is none, or no repository of ours."""
    if not (root / ".git").exists():  # an installed package may lie inside another's repository
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever the person uses
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
