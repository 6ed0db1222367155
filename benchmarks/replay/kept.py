"""Replays that are kept in a file, so that a benchmark of hours goes on where it was left."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from replay.score import Score, Task

Scored = Callable[[Iterable[Task]], Iterable[Score]]


def scores(planned: Sequence[Task], file: Path | None, scored: Scored) -> list[Score]:
    """Return the score of each task, in their order.

    Args:
        planned: All tasks.
        file: Scores made before, a line each, of the same code; new ones are added. None for none.
        scored: Makes those that are not there, in their order.
    """
    known = dict(_read(file)) if file is not None and file.exists() else {}
    left = [task for task in planned if _key(task) not in known]
    for task, score in zip(left, scored(left), strict=True):
        known[_key(task)] = score
        if file is not None:
            with file.open("a") as lines:
                lines.write(json.dumps({"task": _key(task), "score": asdict(score)}) + "\n")
    return [known[_key(task)] for task in planned]


def _key(task: Task) -> str:
    named = asdict(task) | {"folder": task.folder.name}
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _read(file: Path) -> Iterator[tuple[str, Score]]:
    for line in file.read_text().splitlines():
        row = json.loads(line)
        yield row["task"], Score(**row["score"])
