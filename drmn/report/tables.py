"""The test table of a finalize as Markdown and LaTeX, and the commands that repeat the result."""

from collections.abc import Mapping, Sequence

from drmn.experiment.train_command import arguments, command
from drmn.final.confirm import SELECTION
from drmn.final.confirm_study import FIRST_SEED
from drmn.final.context import Search
from drmn.final.result import FinalResult
from drmn.search.trial_summary import METADATA

COLUMNS = ("T1", "U", "S", "H", "AUSUC", "oracle_H")


def final_rows(result: FinalResult) -> list[tuple[str, Sequence[str]]]:
    """Return the rows of the test table in percent: the refit, its ensemble, the baselines."""
    mean, count = result.test.mean(), len(result.test.seeds)
    own = [f"{100 * mean[c]['mean']:.1f} ± {100 * mean[c]['sd']:.1f}" for c in COLUMNS]
    rows: list[tuple[str, Sequence[str]]] = [(f"DRMN, {count} seed{'s' * (count > 1)}", own)]
    if count > 1:
        rows.append((f"DRMN, ensemble of {count}", _percent(result.test.ensemble)))
    rows += [(line.name, _percent(line.test)) for line in result.baselines]
    return rows


def _percent(figures: Mapping[str, float]) -> list[str]:
    return [f"{100 * figures[name]:.1f}" for name in COLUMNS]


def markdown(result: FinalResult) -> str:
    """Return the test table as Markdown."""
    return _markdown([name.replace("_", " ") for name in COLUMNS], final_rows(result))


def latex(result: FinalResult) -> str:
    """Return the test table as LaTeX, for booktabs."""
    what = f"{result.dataset}, test split, percent; gamma carried from validation"
    head = [name.replace("oracle_H", "H (oracle)") for name in COLUMNS]
    return _latex(what, head, final_rows(result))


def _markdown(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    lines = [f"| {' | '.join(['', *head])} |", f"|---{'|---:' * len(head)}|"]
    lines += [f"| {' | '.join([name, *cells])} |" for name, cells in rows]
    return "\n".join(lines) + "\n"


def _latex(what: str, head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    body = " \\\\\n".join(" & ".join([name, *cells]) for name, cells in rows)
    return (
        f"% {what}. Needs booktabs.\n"
        f"\\begin{{tabular}}{{l{'r' * len(head)}}}\n\\toprule\n{' & '.join(['', *head])} \\\\\n"
        f"\\midrule\n{body} \\\\\n\\bottomrule\n\\end{{tabular}}\n"
    ).replace("±", r"$\pm$")


ABLATION_COLUMNS = ("objective", "whole network better by", "T1, better by")


def ablation_rows(result: FinalResult) -> list[tuple[str, Sequence[str]]]:
    """Return the rows of the winner's ablation in percent, with 95 % intervals of differences."""
    rows: list[tuple[str, Sequence[str]]] = []
    for row in result.ablation:
        plain = row.plain()
        if row.note:
            rows.append((row.label, [row.note, "", ""]))
            continue
        cells = [f"{100 * plain['value']:.1f}"]
        for name in ("objective", "T1"):
            low, high = (100 * end for end in plain[name]["interval"])
            cells.append(f"{100 * plain[name]['difference']:+.1f} ({low:+.1f} to {high:+.1f})")
        rows.append((row.label, cells))
    return rows


def ablation_markdown(result: FinalResult) -> str:
    """Return the ablation as Markdown."""
    return _markdown(ABLATION_COLUMNS, ablation_rows(result))


def ablation_latex(result: FinalResult) -> str:
    """Return the ablation as LaTeX, for booktabs."""
    blocks = max((len(row.values) for row in result.ablation), default=0)
    what = (
        f"{result.dataset}, validation, percent: paired differences over {blocks} blocks with "
        "95 per cent intervals"
    )
    return _latex(what, ABLATION_COLUMNS, ablation_rows(result))


def repro(search: Search, result: FinalResult) -> str:
    """Return a shell script that trains the winner again on its first fresh block.

    On a CPU it comes to the number that was logged, bit for bit.
    """
    confirmation = result.confirmation
    block = min(SELECTION + 1, len(confirmation.values[confirmation.winner]))
    value = confirmation.values[confirmation.winner][block - 1]
    chosen = confirmation.candidates[confirmation.winner].settings
    options = {**search.study.user_attrs[METADATA]["options"], "run": f"{result.study}-repro"}
    settings = {**chosen, "block": block, "seed": FIRST_SEED + block}
    return (
        "#!/bin/sh\n"
        f"# Trains the winner of study {result.study} (trial {result.decision.trial}) again on "
        f"block {block}.\n# The best {result.objective} of its epochs is {value!r}.\n"
        f"# Data {result.data['digest']}, code {search.identity['code']}.\n"
        f"{command(arguments(options, settings))}\n"
    )
