"""What a benchmark ends with: its figures as JSON, and a status that a script can trust."""

import json
import subprocess
import sys

import pytest
from paths import ROOT

END = """
from bars import Bar, arguments, finish
asked = arguments("a benchmark")
bars = [Bar("rate", 3.0, 2.0), Bar("seconds", {seconds}, 1.0, least=False)]
finish({{"quick": asked.quick}}, bars, asked.json)
"""


@pytest.mark.parametrize(("seconds", "ok"), [(0.5, True), (1.5, False)])
def test_a_benchmark_writes_its_figures_and_bars_and_fails_when_one_is_short(tmp_path, seconds, ok):
    file = tmp_path / "out.json"
    command = [sys.executable, "-c", END.format(seconds=seconds), "--quick", "--json", str(file)]
    done = subprocess.run(
        command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if ok else 1)
    assert f"{'ok' if ok else 'short':5} seconds: {seconds:.3g} (bar 1)" in done.stdout
    assert json.loads(file.read_text()) == {
        "figures": {"quick": True},
        "bars": [
            {"name": "rate", "value": 3.0, "bar": 2.0, "ok": True},
            {"name": "seconds", "value": seconds, "bar": 1.0, "ok": ok},
        ],
    }
