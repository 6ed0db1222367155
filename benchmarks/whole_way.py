"""The whole way on real photos: prepare, search, finalize, report, predict, and its minutes.

Runs the jobs as a person does, each in a process of its own, on cub2010_dev (150 bird classes,
4,513 photos, frozen lite0 features at 224 px): 24 trials, three candidates on up to eight blocks,
three seeds of the refit, one opening of the test split. Then it classifies photos of classes that
no training has seen. `--folder` keeps what was made; started again there, it goes on.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bars import Bar, finish, flags
from real_data import real_data

ROOT = Path(__file__).parents[1]
EACH = 5
"""Photos of each unseen class that are classified in the end."""
TRIALS, CONFIRM = "24", ("--confirm.candidates", "3", "--confirm.blocks", "6")
QUICK_TRIALS, QUICK_CONFIRM = "4", ("--confirm.candidates", "2", "--confirm.blocks", "2")


def job(name: str, folder: Path, *arguments: object) -> float:
    """Run a job in `folder`; return its seconds of wall time."""
    began = time.monotonic()
    command = [sys.executable, ROOT / "jobs" / f"{name}.py", *arguments]
    shown = [str(each) for each in arguments if not str(each).endswith(".jpg")]
    print(f"$ python jobs/{name}.py {' '.join(shown)}", flush=True)
    subprocess.run(list(map(str, command)), cwd=folder, check=True)
    return time.monotonic() - began


def walk(folder: Path, photos: Path, *, quick: bool) -> dict[str, float]:
    """Go the whole way in `folder`; return the seconds of each job."""
    data = ("--dataset", "cub", "--data-root", photos)
    trials, confirm = (QUICK_TRIALS, QUICK_CONFIRM) if quick else (TRIALS, CONFIRM)
    study = ("--study", "birds")
    return {
        "prepare": job("prepare", folder, *data),
        "tune": job("tune", folder, *data, *study, "--budget.trials", trials),
        "finalize": job("finalize", folder, *study, *confirm, "--json", "final.json"),
        "report": job("report", folder, *study),
        "predict": job(
            *("predict", folder, "--model", "results/studies/birds/final/model"),
            *(*unseen_photos(photos), "--out", "predictions.csv", "--json", "predictions.json"),
        ),
    }


def unseen_photos(photos: Path) -> list[Path]:
    """Return some photos of each class that the official split keeps for the test."""
    names = next(photos.rglob("testclasses.txt")).read_text().split()
    folders = [next(photos.rglob(f"images/{name}")) for name in names]
    return [photo for each in folders for photo in sorted(each.iterdir())[:EACH]]


def recognised(folder: Path) -> float:
    """Return the share of the classified photos whose class was found among all classes."""
    found = json.loads((folder / "predictions.json").read_text())
    right = [Path(each["photo"]).parent.name == each["top"][0]["name"] for each in found]
    return sum(right) / len(right)


def compare(final: dict[str, Any], minutes: float) -> list[Bar]:
    """Return the bars: the test figures beside the strongest baseline's, and the time."""
    test, line = final["test"], final["baseline"]
    means = {name: test[name]["mean"] for name in ("T1", "H", "oracle_H")}
    return [
        Bar("test T1 above the strongest baseline", means["T1"] - line["T1"], 0.03),
        Bar("test H above the strongest baseline", means["H"] - line["H"], 0.04),
        Bar("test H below the best gamma's", means["oracle_H"] - means["H"], 0.015, least=False),
        Bar("minutes, all jobs", minutes, 40, least=False),
    ]


@contextmanager
def workplace(about: str, more: str = "") -> Iterator[tuple[argparse.Namespace, Path, Path]]:
    """Yield the options of the command line, the folder to work in, and that of the photos.

    `more` says what arguments after `--` are for, which are `options`, where there may be any.
    """
    parser = flags(about)
    if more:
        parser.add_argument("options", nargs="*", help=more)
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    asked = parser.parse_args()
    photos = real_data("cub2010_mini" if asked.quick else "cub2010_dev")
    with TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        yield asked, folder, photos


def main() -> None:
    """Go the whole way, print the figures and compare."""
    with workplace(__doc__ or "") as (asked, folder, photos):
        seconds = walk(folder, photos, quick=asked.quick)
        final = json.loads((folder / "final.json").read_text())
        figures = {
            **{f"{name}, s": round(each) for name, each in seconds.items()},
            "winner": f"trial {final['winner']['trial']}",
            "clear winner": final["confirm"]["clear"],
            "estimate of H before the test": final["confirm"]["estimate"]["H"],
            **{f"test {name}": each for name, each in final["test"].items() if name in NAMES},
            "ensemble": final["test"]["ensemble"],
            **{f"{line['name']} (baseline)": line for line in final["baselines"]},
            "unseen photos recognised among all classes": recognised(folder),
        }
        # 20 training classes of cub2010_mini are little to learn from: there it has to run only.
        bars = [] if asked.quick else compare(final, sum(seconds.values()) / 60)
        finish(figures, bars, asked.json)


NAMES = ("T1", "U", "S", "H", "AUSUC", "oracle_H")

if __name__ == "__main__":
    main()
