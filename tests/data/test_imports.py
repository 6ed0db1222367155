"""No import leads from what trains, searches or is run by a person to the test split."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

NAME = "Nothing that trains or searches can reach the test split"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
(CONTRACT,) = [each for each in SETTINGS["contracts"] if each["name"] == NAME]
SEALED = set(CONTRACT["forbidden_modules"])


def imported(code):
    """Return the modules that some code imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("folder", ["jobs", "search_spaces", "benchmarks", "drmn/report"])
def test_no_job_space_benchmark_or_report_imports_what_reads_the_test_split(folder):
    files = sorted((ROOT / folder).glob("*.py"))
    assert files
    for file in files:
        assert not imported(file.read_text()) & SEALED, file


@pytest.mark.parametrize(
    "code",
    [
        "import drmn.data.sealed",
        "from drmn.data import sealed",
        "def space(trial):\n    from drmn.data.sealed import open_test",
    ],
)
def test_an_import_of_the_test_split_is_seen_wherever_it_stands(code):
    assert imported(code) & SEALED == {"drmn.data.sealed"}


def test_every_module_of_the_data_is_on_one_side_of_the_contract():
    files = sorted((ROOT / "drmn" / "data").glob("*.py"))
    modules = {f"drmn.data.{file.stem}" for file in files} - {"drmn.data.__init__"}
    assert modules == SEALED | {m for m in CONTRACT["source_modules"] if m.startswith("drmn.data.")}


def test_a_planted_import_of_the_test_split_breaks_the_contract(tmp_path):
    shutil.copytree(ROOT / "drmn", tmp_path / "drmn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "drmn" / "ablations.py").open("a") as file:
        file.write("\nfrom drmn.data import sealed\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{NAME} BROKEN" in done.stdout
    assert "drmn.ablations -> drmn.data.sealed" in done.stdout
