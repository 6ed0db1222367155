"""No import leads from what trains, searches or is run by a person to the test split."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

NAME = "Nothing that trains or searches can reach the test split"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
(CONTRACT,) = [each for each in SETTINGS["contracts"] if each["name"] == NAME]
FENCED = tuple(CONTRACT["forbidden_modules"])
MAY_REACH = {"drmn.data", "drmn.doctor", "drmn.final", "drmn.prepare", "drmn.report"}
"""What makes features, or opens the test split once all is chosen, and what shows their outcome."""
KNOW_NOTHING = {
    *("drmn.cli", "drmn.errors", "drmn.help", "drmn.malloc", "drmn.metric_names", "drmn.units"),
    *("drmn.compiler", "drmn.fields", "drmn.vision"),
}
"""Modules that the layers keep below all of the data."""


def imported(code):
    """Return the modules that some code imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def fenced(code):
    return {name for name in imported(code) if name.startswith(FENCED)}


@pytest.mark.parametrize("folder", ["jobs", "search_spaces", "benchmarks", "drmn/report"])
def test_no_job_space_benchmark_or_report_imports_what_reads_the_test_split(folder):
    files = sorted((ROOT / folder).glob("*.py"))
    assert files
    for file in files:
        assert not fenced(file.read_text()), file


@pytest.mark.parametrize(
    "code",
    [
        "import drmn.data.sealed.open",
        "from drmn.data import sealed",
        "from drmn.data.sealed import open",
        "def space(trial):\n    from drmn.data.sealed.open import open_test",
    ],
)
def test_an_import_of_the_test_split_is_seen_wherever_it_stands(code):
    assert fenced(code)


def test_the_fence_is_two_packages_and_all_others_are_on_one_side_of_it():
    assert FENCED == ("drmn.data.readers", "drmn.data.sealed")
    places = [*(ROOT / "drmn").iterdir(), *(ROOT / "drmn" / "data").iterdir()]
    packages = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in places
        if path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }
    sources = set(CONTRACT["source_modules"])
    assert packages == sources | set(FENCED) | MAY_REACH | KNOW_NOTHING


def test_a_planted_import_of_the_test_split_breaks_the_contract(tmp_path):
    shutil.copytree(ROOT / "drmn", tmp_path / "drmn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "drmn" / "model" / "ablations.py").open("a") as file:
        file.write("\nfrom drmn.data.sealed import open\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{NAME} BROKEN" in done.stdout
    assert "drmn.model.ablations -> drmn.data.sealed.open" in done.stdout
