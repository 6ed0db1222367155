"""Replay search policies on tables of learning curves, in virtual time.

python benchmarks/search.py                                # all of benchmarks/tables
python benchmarks/search.py --table DIR --objective val_accuracy --seeds 20
python benchmarks/search.py --keep replays.jsonl           # hours: the same command goes on
python benchmarks/search.py --quick --only drmn random --variant sampler=gp,factor=4
What is measured is said in replay/score.py. A table is a folder as Syne Tune lays out its
blackboxes (benchmarks/tables.py records such); each of its tasks counts as a table. Policies run
as they do live, each library's own objects; only the trainings are looked up.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from bars import Bar, finish, flags
from pool import processes
from replay.kept import scores
from replay.policies import OURS, PEERS, RANDOM, missing
from replay.score import SHARES, TOPS, Row, Score, Task, excess, is_ours, score
from replay.table import tasks

FOLDER = Path(__file__).parent / "tables"
Rows = Mapping[str, Row]


def read() -> argparse.Namespace:
    """Return the flags."""
    parser = flags(__doc__ or "")
    parser.add_argument("--table", type=Path, action="append", help="a folder; may be repeated")
    parser.add_argument("--task", action="append", help="of the folders' tasks, these alone")
    parser.add_argument("--objective", default="", help="the metadata's or the first if unset")
    parser.add_argument("--seeds", type=int, default=50, help="replays of each policy")
    parser.add_argument("--workers", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--start", type=float, default=1.0, help="a trial's start, in mean epochs")
    parser.add_argument("--cap", type=float, default=0.5, help="of a table's cost; random: 1")
    parser.add_argument("--only", nargs="+", help="these policies alone")
    parser.add_argument("--variant", action="append", default=[], help="ours with these settings")
    parser.add_argument("--keep", type=Path, help="a file of replays: goes on where it was left")
    parser.add_argument("--processes", type=int, help="a core each if unset")
    asked = parser.parse_args()
    if asked.quick:
        asked.seeds, asked.workers, asked.cap = min(asked.seeds, 3), asked.workers[:1], 1 / 16
    return asked


def policies(asked: argparse.Namespace) -> list[str]:
    """Return the policies to replay, ours first; say which are left out."""
    names = [OURS, *(f"{OURS}:{variant}" for variant in asked.variant)]
    for peer in PEERS:
        if package := missing(peer):
            print(f"left out: {peer}, as {package} is not installed")
        else:
            names.append(peer)
    return [name for name in names if not asked.only or name in asked.only or ":" in name]


def plan(asked: argparse.Namespace) -> list[Task]:
    """Return all replays, those of a seed together: what is kept of some seeds is of all.

    Chance goes on to the end of a table: what others are measured by is not to be cut short.
    """
    folders = asked.table or sorted(path.parent for path in FOLDER.glob("*/metadata.json"))
    found = [(folder, task) for folder in folders for task in tasks(folder)]
    found = [pair for pair in found if not asked.task or pair[1] in asked.task]
    if not found:
        raise SystemExit(f"no table: record one by benchmarks/tables.py into {FOLDER}, or --table")
    names = policies(asked)
    caps = dict.fromkeys(names, asked.cap) | ({} if asked.quick else {RANDOM: 1.0})
    return [
        Task(folder, task, asked.objective, policy, workers, seed, asked.start, caps[policy])
        for seed in range(asked.seeds)
        for folder, task in (found[:1] if asked.quick else found)
        for workers in asked.workers
        for policy in names
    ]


def grouped(asked: Sequence[Task], made: Sequence[Score]) -> dict[str, Rows]:
    """Return each table and number of workers, with a row a policy."""
    found: defaultdict[str, defaultdict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for task, each in zip(asked, made, strict=True):
        place = task.table if task.table == task.folder.name else f"{task.folder.name}/{task.table}"
        found[f"{place}, {task.workers} workers"][task.policy].append(each)
    return {
        place: {name: Row(name, each) for name, each in rows.items()}
        for place, rows in found.items()
    }


def show(place: str, rows: Rows) -> None:
    """Print a table."""
    print(f"\n{place}: mean ± standard error; in brackets how many replays never came there")
    tops = "".join(f"{f'seconds to top {top}':>24}{'epochs':>14}" for top in TOPS)
    print(f"{'':30}{tops}" + "".join(f"{f'regret at {share:.1%}':>17}" for share in SHARES))
    for name, row in rows.items():
        line = f"{name:30}"
        for top in TOPS:
            (seconds, error), (epochs, spread) = row.seconds(top), row.epochs(top)
            line += f"{f'{seconds:.0f} ± {error:.0f} [{row.missed(top)}]':>24}"
            line += f"{f'{epochs:.0f} ± {spread:.0f}':>14}"
        for budget in range(len(SHARES)):
            line += "{:>17}".format("{:.3f} ± {:.3f}".format(*row.regret(budget)))
        print(line)


def figures(places: Mapping[str, Rows]) -> dict[str, object]:
    """Return all numbers, means with their standard errors, for `--json`."""
    return {
        f"{place}, {name}": {
            **{f"seconds to top {top}": _rounded(row.seconds(top)) for top in TOPS},
            **{f"epochs to top {top}": _rounded(row.epochs(top)) for top in TOPS},
            **{f"never at top {top}": row.missed(top) for top in TOPS},
            "regret": [_rounded(row.regret(budget)) for budget in range(len(SHARES))],
        }
        for place, rows in places.items()
        for name, row in rows.items()
    }


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, 4) for number in numbers]


def mean_regret(places: Mapping[str, Rows], policy: str) -> float:
    """Return a policy's regret over all tables, numbers of workers and budgets."""
    budgets = range(len(SHARES))
    return float(np.mean([rows[policy].regret(b)[0] for rows in places.values() for b in budgets]))


def bars(places: Mapping[str, Rows], names: Sequence[str], *, binding: bool) -> list[Bar]:
    """Return what our policy must come to beside its peers; anything will do unless binding."""
    slack = 0.0 if binding else 1e6
    peers = [name for name in names if not is_ours(name)]
    if OURS not in names or not peers:
        return []
    found = []
    for place, rows in places.items():
        ours, others = rows[OURS], [rows[peer] for peer in peers]
        if RANDOM in peers:
            ratio = rows[RANDOM].seconds("1 %")[0] / ours.seconds("1 %")[0]
            found.append(
                Bar(f"{place}: random's seconds to the top 1 % / ours", ratio, 4.0 - slack)
            )
        most = max(excess(ours, others, budget) for budget in range(len(SHARES)))
        name = f"{place}: standard errors of regret above the best peer"
        found.append(Bar(name, most, 1.0 + slack, least=False))
    ratio = min(mean_regret(places, peer) for peer in peers) / mean_regret(places, OURS)
    return [*found, Bar("mean regret, the best peer's / ours", ratio, 1.0 - slack)]


def main() -> None:
    """Replay, and compare."""
    asked = read()
    planned = plan(asked)
    with processes(asked.processes) as pool:
        found = scores(planned, asked.keep, lambda tasks: pool.map(score, tasks))
    places = grouped(planned, found)
    for place, rows in places.items():
        show(place, rows)
    names = list(dict.fromkeys(task.policy for task in planned))
    print()
    for name in names:
        print(f"mean regret {mean_regret(places, name):.3f} {name}")
    reached = bars(places, names, binding=not asked.quick)
    finish({} if asked.json is None else figures(places), reached, asked.json)


if __name__ == "__main__":
    main()
