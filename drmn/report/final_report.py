"""The report of a finalize: one offline page, JSON, tables for a paper, and a script that repeats.

The page makes no request: its style is inline, its plots are SVG, and its policy forbids the rest.
"""

import html
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drmn.final.context import Search
from drmn.final.result import FinalResult
from drmn.io import atomic
from drmn.report import tables
from drmn.report.final_files import ABLATION, PAGE, PAPER, RESULT, SCRIPT
from drmn.report.final_words import verdict
from drmn.report.page_parts import TEST_NOTE, document, grid, short
from drmn.report.say import say
from drmn.report.study_plots import history_of, plot_history
from drmn.report.svg import plot
from drmn.search.study_totals import StudyTotals
from drmn.units import duration

FEWEST = 3
"""Blocks of an interval that says anything."""
WORST = 20
"""Classes of the lowest accuracy that the page lists."""


def write_report(folder: Path, search: Search, result: FinalResult) -> list[Path]:
    """Write the page, the JSON, the tables and the script; return them, the page first."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / RESULT, json.dumps(result.plain(), indent=1))
    atomic.write(folder / "table.md", tables.markdown(result))
    atomic.write(folder / "table.tex", tables.latex(result))
    if result.ablation:
        atomic.write(folder / ABLATION[0], tables.ablation_markdown(result))
        atomic.write(folder / ABLATION[1], tables.ablation_latex(result))
    script = tables.repro(search, result)
    atomic.write(folder / SCRIPT, script)
    (folder / SCRIPT).chmod(0o755)
    atomic.write(folder / PAGE, page(search, result, script))
    more = ABLATION if result.ablation else ()
    return [folder / name for name in (PAGE, *PAPER, *more)]


def show(console: Console, result: FinalResult, written: Path) -> None:
    """Print the verdict, the test table, and where the report is."""
    console.print()
    say(console, verdict(result))
    table = Table(box=None, title="On test classes, percent", title_justify="left", pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in tables.COLUMNS:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for name, cells in tables.final_rows(result):  # 80 columns hold it
        table.add_row(name, *(cell.replace(" ± ", "±") for cell in cells))
    console.print(table)
    say(console, f"\nReport: {written}")
    say(console, f"Table for a paper: {written.with_name('table.tex')}")


def page(search: Search, result: FinalResult, script: str) -> str:
    """Return the page."""
    title = f"Study {result.study} on {result.dataset}"
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f'<p class="verdict">{html.escape(verdict(result))}</p>',
        "<h2>Test figures, percent</h2>",
        grid(["", *(c.replace("_", " ") for c in tables.COLUMNS)], tables.final_rows(result)),
        TEST_NOTE,
        _ledger(result),
        "<h2>How the winner was chosen</h2>",
        _confirmation(result),
        "<h2>Seen and unseen accuracy</h2>",
        _curve(result),
        *_ablation(result),
        "<h2>The search</h2>",
        _search(search, result),
        "<h2>Classes</h2>",
        _classes(result),
        "<h2>Data, code and the way to repeat it</h2>",
        _origin(search, result),
        f"<pre>{html.escape(script)}</pre>",
    ]
    return document(title, parts)


def _ledger(result: FinalResult) -> str:
    lines = [
        f"{entry.when}, study {entry.study}{', opened again' if entry.again else ''}: "
        f"{entry.purpose} [{entry.hash[:12]}]"
        for entry in result.openings
    ]
    often = ' class="warn"' if len(lines) > 1 else ""
    times = f"{len(lines)} time{'s' * (len(lines) != 1)}"
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<p{often}>The test split was opened {times}, by the ledger:</p><ul>{listed}</ul>"


def _confirmation(result: FinalResult) -> str:
    found = result.confirmation
    plain = found.plain()
    rows = []
    for number, each in enumerate(plain["candidates"]):
        rival = next((r for r in found.verdict.rivals if r.candidate == number), None)
        cells = [f"{100 * value:.1f}" for value in each["blocks"]]
        longest = max(len(other["blocks"]) for other in plain["candidates"])
        cells += [""] * (longest - len(cells))
        p = "leader" if rival is None else f"{rival.p:.3f}{' (dropped)' * rival.dropped}"
        spent = f"{each['epoch_seconds']:.1f}"
        rows.append((f"trial {each['trial']}", [*cells, p, spent]))
    blocks = [f"block {n + 1}" for n in range(longest)]
    low, high = plain["interval"]
    sure = (
        f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
        if plain["fresh_blocks"] >= FEWEST
        else "too few blocks for an interval"
    )
    estimate = {name: 100 * value for name, value in plain["estimate"].items()}
    return (
        f"<p>{html.escape(result.objective)} of each candidate on random divisions of the classes, "
        "percent. The first two blocks choose the leader; p is of the exact sign-flip test on the "
        "later ones.</p>"
        + grid(["", *blocks, "p", "s an epoch"], rows)
        + f"<p>Winner: trial {plain['winner']}, {100 * plain['value']:.1f} on fresh blocks "
        f"({sure}). The search's own best value, "
        f"{100 * plain['search_value']:.1f}, is optimistic. By a rule carried from the search, "
        f"blocks gave U {estimate['U']:.1f}, S {estimate['S']:.1f}, H {estimate['H']:.1f}: the "
        "estimate of the test before it was opened.</p>"
    )


def _curve(result: FinalResult) -> str:
    curve, point = result.test.curve, result.test.ensemble
    line = [
        (100 * s, 100 * u) for s, u in zip(curve.seen.tolist(), curve.unseen.tolist(), strict=True)
    ]
    carried = {"carried gamma": [(100 * point["S"], 100 * point["U"])]}
    labels = ("accuracy on seen classes, %", "on unseen classes, %")
    return plot({"every gamma (ensemble)": line}, carried, labels, "Seen and unseen accuracy")


def _ablation(result: FinalResult) -> list[str]:
    if not result.ablation:
        return []
    blocks = max((len(row.values) for row in result.ablation), default=0)
    words = (
        f"Each part removed from the winner's settings, trained on the same {blocks} divisions "
        "of the classes with the same seeds; percent, with 95 % intervals of the paired "
        "differences. An interval that includes 0 shows no effect. The settings were found for the "
        "whole network."
    )
    return [
        "<h2>Ablation of the winner</h2>",
        f"<p>{words}</p>",
        grid(["", *tables.ABLATION_COLUMNS], tables.ablation_rows(result)),
    ]


def _search(search: Search, result: FinalResult) -> str:
    rows = [row for row in search.trials() if row.value is not None]
    totals = StudyTotals(rows)
    causes = [f"trial {r.number}: {r.cause}" for r in search.trials() if r.state == "FAIL"]
    failed = f"<p>Failed: {html.escape('; '.join(causes))}</p>" if causes else ""
    settings = sorted(
        (name, [short(result.decision.settings[name])])
        for name in next(r.params for r in search.trials() if r.number == result.decision.trial)
    )
    return (
        f"<p>{html.escape(totals.counts)}; {totals.epochs} epochs, "
        f"{duration(3600 * totals.worker_hours)} of worker time.</p>"
        + plot_history(history_of(search.study), result.objective)
        + failed
        + "<p>Settings of the winner:</p>"
        + grid(["setting", "value"], settings)
    )


def _classes(result: FinalResult) -> str:
    worst = [
        (
            each.name,
            ["seen" if each.seen else "unseen", str(each.images), f"{100 * each.accuracy:.0f}"],
        )
        for each in result.test.classes[:WORST]
    ]
    pairs = [(f"{a} and {b}", [str(ab), str(ba)]) for a, b, ab, ba in result.test.twins]
    twins = grid(["taken for each other", "one way", "the other"], pairs) if pairs else ""
    return (
        f"<p>The {len(worst)} classes of the lowest accuracy, of the ensemble.</p>"
        + grid(["", "", "images", "accuracy, %"], worst)
        + twins
    )


def _origin(search: Search, result: FinalResult) -> str:
    data = result.data
    rows = [
        ("data", [data["digest"]]),
        ("features", [data["features"]]),
        ("images", [f"{data['trainval']:,} to train, {data['test']:,} to test"]),
        ("classes", [f"{data['seen']} seen, {data['unseen']} unseen"]),
        ("code", [str(search.identity["code"])]),
        ("decision", [result.decision.digest]),
        ("formula", [f"{result.decision.rule.formula}, gamma {result.test.gamma:.4f}"]),
    ]
    return grid(["", ""], rows)
