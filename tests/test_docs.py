"""The pages: every option, link, path and module that they name is there."""

import re
import tomllib

import pytest
from documents import JOBS, PAGES, all_options, commands, options_named, options_of
from paths import ROOT

OTHERS = {
    "--address": "ray job submit",
    "--env-manager": "mlflow models serve",
    "--file": "docker build",
    "--generate": "ray get-auth-token",
    "--no-config-cache": "ray up",
    "--tag": "docker build",
    "--block": "ray start",
}
"""Options of other programs, and whose they are."""
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture(scope="module")
def known():
    return all_options() | OTHERS.keys()


@each_page
def test_every_option_that_a_page_names_exists(page, known):
    assert options_named(page.read_text()) <= known


@each_page
def test_a_command_of_a_job_has_options_of_that_job_alone(page):
    for command in commands(page):
        match = re.match(r"python jobs/(\w+)\.py", command.line)
        if match:
            assert match[1] in JOBS, command.line
            assert options_named(command.line) <= options_of(match[1]), command.line


@each_page
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text()), target


def anchors(text):
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_path_that_a_page_names_is_there(page):
    text = re.sub(r"```diff.*?```", "", page.read_text(), flags=re.DOTALL)
    tops = "benchmarks|cluster|docs|drmn|jobs|search_spaces|tests"
    named = re.findall(rf"(?<![\w./~-])(?:{tops})/[\w/.-]*\w(?:/|\b)", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


@each_page
def test_every_module_of_ours_that_a_page_names_is_there(page):
    for name in re.findall(r"(?<![\w./-])drmn(?:\.[a-z_0-9]+)+", page.read_text()):
        parts = name.split(".")
        places = [ROOT.joinpath(*parts[:count]) for count in (len(parts), len(parts) - 1)]
        assert any(place.is_dir() or place.with_suffix(".py").is_file() for place in places), name


def rows():
    """Return the folders of the architecture's table, those that share a row together."""
    first = re.findall(r"^\| (`[^|]*) \|", ARCHITECTURE, re.MULTILINE)
    return [re.findall(r"`([^`]+)`", cell) for cell in first]


def test_the_table_of_folders_names_every_package():
    deep = [ROOT / "drmn" / "data", ROOT / "drmn" / "search"]
    found = [*(ROOT / "drmn").iterdir(), *(inner for each in deep for inner in each.iterdir())]
    packages = {place for place in found if (place / "__init__.py").is_file()} - set(deep)
    assert {str(place.relative_to(ROOT)) for place in packages} <= {n for r in rows() for n in r}


def test_the_table_of_folders_has_the_order_of_the_contracts():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    order = [[name.replace(".", "/") for name in layer.split(" | ")] for layer in layers]
    assert [[path.removesuffix(".py") for path in row] for row in rows()] == [["jobs"], *order]


@pytest.mark.parametrize("way", ["one trial", "one image"])
def test_a_way_is_at_most_twenty_modules_that_are_there(way):
    part = re.split(r"^## ", ARCHITECTURE, flags=re.MULTILINE)
    (text,) = (each for each in part if each.startswith(f"The way of {way}"))
    modules = re.findall(r"^\d+\. `([^`]+)`", text, re.MULTILINE)
    assert 10 < len(modules) <= 20
    assert all((ROOT / module).is_file() for module in modules)


@each_page
def test_no_page_has_the_marks_of_a_merge(page):
    marks = ("<" * 7, "=" * 7, ">" * 7)
    assert not [line for line in page.read_text().splitlines() if line.startswith(marks)]
