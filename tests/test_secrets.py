"""What must stay secret is in nothing that a search leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest
from paths import ROOT

SECRET = "open-sesame-7391"  # noqa: S105
NAMES = ("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def ray_folder():
    """Return where Ray keeps its logs; its sockets want a short path."""
    folder = mkdtemp(prefix="drmn-")
    yield Path(folder)
    shutil.rmtree(folder)


def tune(folder, *more, **environment):
    command = [
        *(sys.executable, ROOT / "jobs" / "tune.py", "--dataset", "demo"),
        *("--space", ROOT / "tests" / "spaces" / "smoke.py", "--budget.trials", "1", *more),
    ]
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_secret_of_the_environment_is_in_what_a_search_leaves(demo, tmp_path, ray_folder):
    secrets = dict.fromkeys(NAMES, SECRET) | {"RAY_TMPDIR": str(ray_folder)}
    more = ("--results", demo, "--study", "secrets")
    done = tune(tmp_path, *more, **secrets)
    assert done.returncode == 0, done.stderr
    left = [tmp_path, demo / "studies" / "secrets", ray_folder]
    files = [f for root in left for f in root.rglob("*") if f.is_file()]
    assert any(f.name == "mlflow.db" for f in files)
    assert any("raylet" in f.name for f in files)
    assert not [f for f in files if SECRET.encode() in f.read_bytes()]
    assert SECRET not in done.stdout + done.stderr


def test_a_password_on_the_command_line_is_refused_and_not_repeated(tmp_path):
    done = tune(tmp_path, "--tracking-uri", f"https://me:{SECRET}@server")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --tracking-uri holds a password")
    assert SECRET not in done.stderr
