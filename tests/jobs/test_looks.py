"""A look at what there is, or a mistyped option, imports nothing that takes seconds."""

import subprocess
import sys

import pytest
from paths import ROOT

HEAVY = ("torch", "torchvision", "timm", "mlflow", "ray", "scipy", "pandas", "matplotlib")
LOOKS = [
    ("tune", "--list"),
    ("tune", "--status", "--study", "none"),
    ("tune", "--stop", "--study", "none"),
    ("tune", "--replay", "--study", "none"),
    ("tune", "--datset", "demo"),
    ("train", "--status", "--run", "none"),
    ("train", "--optim.lrr", "1"),
    ("prepare", "--list"),
    ("prepare", "--backbon", "resnet18"),
    ("sync", "--storge", "x"),
    ("doctor", "--reslts", "x"),
]


@pytest.mark.parametrize(("job", "options"), [(job, options) for job, *options in LOOKS])
def test_a_look_imports_nothing_heavy(tmp_path, job, options):
    code = (
        "import runpy, sys; del sys.argv[0]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, ROOT / "jobs" / f"{job}.py", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
