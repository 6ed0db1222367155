"""Replaying search policies on tables of learning curves, in virtual time."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT

sys.path.append(str(ROOT / "benchmarks"))

from replay.chance import Chance, ChanceHalved, ChanceTop
from replay.clock import Limits, replay
from replay.kept import scores
from replay.policies import PEERS, make, missing
from replay.score import Score, Task
from replay.table import load
from search import plan, read

TWO = {"lr": [0.1, 0.01], "name": ["a", "a"]}
TWO_CURVES = [[0.1, 0.5, 0.4], [0.2, 0.3, 0.6]]  # of points 0 and 1
TWO_SECONDS = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]


def write(folder, columns, curves, seconds=None, **about):
    """Write a table of one seed as Syne Tune lays it out."""
    folder.mkdir()
    recorded = [curves] if seconds is None else [curves, seconds]
    names = ["score", "elapsed_time"][: len(recorded)]
    if seconds is not None:
        about = {"elapsed_time_attr": "elapsed_time", **about}
    array = np.stack(recorded, axis=-1)[None, :, None].astype(np.float32)
    np.save(folder / "objectives_evaluations.npy", array)
    np.save(folder / "fidelities_values.npy", np.arange(1, array.shape[3] + 1))
    pq.write_table(pa.table(columns), folder / "hyperparameters.parquet")
    (folder / "metadata.json").write_text(json.dumps({"objectives_names": names, **about}))
    return load(folder, folder.name)


def hill(folder):
    """Write a full grid, 8 x 8 x 2, whose best point is (6, 2, "add"): 1.0 at the last epoch."""
    points = [(a, b, w) for a in range(8) for b in range(8) for w in ("add", "concat")]
    heights = [1 - 0.02 * ((a - 6) ** 2 + (b - 2) ** 2) - 0.2 * (w != "add") for a, b, w in points]
    a, b, w = zip(*points, strict=True)
    curves = [[height * part for part in (0.5, 0.8, 1.0)] for height in heights]
    return write(folder, {"a": a, "b": b, "w": w}, curves)


def run(policy, table, workers=4, start=0.0, goal=np.inf):
    limits = Limits(workers, start, 0.0, np.inf, goal)
    return replay(policy, table.grid, table.curves(0), limits)


class Fixed(Chance):
    """Asks for these points in this order; stops trials at these epochs."""

    def __init__(self, table, order, stops=()):
        self.left = [table.grid.points[i] for i in reversed(order)]
        self.stops, self.told = stops, []

    def tell(self, number, epoch, value):
        self.told.append((number, epoch, pytest.approx(value)))
        return (number, epoch) in self.stops


def test_a_worker_goes_from_one_trial_to_the_next(tmp_path):
    # Start 10 s, epochs of 1 s; start 10 s, epochs of 2 s: the second begins at 13 s.
    table = write(tmp_path / "two", TWO, TWO_CURVES, TWO_SECONDS)
    policy = Fixed(table, [0, 1])
    trace = run(policy, table, workers=1, start=10)
    assert policy.told == [
        *[(0, 1, 0.1), (0, 2, 0.5), (0, 3, 0.4)],
        *[(1, 1, 0.2), (1, 2, 0.3), (1, 3, 0.6)],
    ]
    assert trace.seconds == [11, 12, 13 + 10 + 6]
    assert trace.epochs == [1, 2, 6]
    assert trace.bests == pytest.approx([0.1, 0.5, 0.6])


def test_worker_seconds_count_all_workers_and_epochs_come_in_their_order(tmp_path):
    table = write(tmp_path / "two", TWO, TWO_CURVES, TWO_SECONDS)
    trace = run(Fixed(table, [0, 1]), table, workers=2)
    # At 1 s 0.1; at 2 s 0.2 of the second and then 0.5 of the first; at 6 s 0.6; two workers.
    assert trace.seconds == [2, 4, 4, 12]
    assert trace.epochs == [1, 2, 3, 6]
    assert trace.first(0.45) == (4, 3)
    assert trace.first(0.7) is None
    assert trace.best(3.9, unseen=0.0) == pytest.approx(0.1)
    assert trace.best(1.9, unseen=-1.0) == -1.0


def test_a_stopped_trial_frees_its_worker(tmp_path):
    table = write(tmp_path / "two", TWO, TWO_CURVES, TWO_SECONDS)
    trace = run(Fixed(table, [0, 1], stops=[(0, 1)]), table, workers=1, start=10)
    assert trace.seconds == [11, 11 + 10 + 2, 11 + 10 + 4, 11 + 10 + 6]


def test_a_replay_ends_at_its_goal_but_not_before_the_least_budget(tmp_path):
    table = write(tmp_path / "two", TWO, TWO_CURVES)
    limits = Limits(1, 0.0, least=4.0, most=np.inf, goal=0.5)
    trace = replay(Fixed(table, [0, 1]), table.grid, table.curves(0), limits)
    assert trace.bests[-1] == pytest.approx(0.5)


def test_what_never_changes_is_not_asked_for(tmp_path):
    table = write(tmp_path / "two", TWO, TWO_CURVES)
    assert table.grid.points == [{"lr": 1}, {"lr": 0}]


def test_without_times_an_epoch_takes_a_second_and_an_error_is_minimised(tmp_path):
    folder = tmp_path / "errors"
    write(folder, TWO, TWO_CURVES)
    about = {"objectives_names": ["valid_error"]}
    (folder / "metadata.json").write_text(json.dumps(about))
    load.cache_clear()
    curves = load(folder, "errors").curves(0)
    np.testing.assert_array_equal(curves.ends, [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_allclose(curves.values, -np.array(TWO_CURVES))
    np.testing.assert_allclose(curves.bests, [-0.1, -0.2])


def test_a_gap_in_a_curve_is_as_before_and_a_point_without_a_curve_is_left_out(tmp_path):
    curves = [[0.1, np.nan, 0.4], [np.nan, 0.3, 0.6]]
    table = write(tmp_path / "gaps", {"lr": [0.1, 0.01]} | {"b": [1, 2]}, curves)
    np.testing.assert_allclose(table.curves(0).values, [[0.1, 0.1, 0.4]])
    assert len(table.grid.points) == 1


def test_scattered_points_are_found_by_the_ranks_that_are_nearest(tmp_path):
    # 40 values are too many to choose from one by one; they are 39 ranks apart, whatever they are.
    columns = {"x": [1.5**i for i in range(40)], "w": ["p", "q"] * 20}
    table = write(tmp_path / "scattered", columns, [[0.0]] * 40)
    assert table.grid.nearest({"x": 20 / 39, "w": "p"}) == 20
    assert table.grid.nearest({"x": 20.4 / 39, "w": "p"}) == 20
    assert table.grid.nearest({"x": 21 / 39, "w": "p"}) == 20  # 21 is a "q", and 22 as far
    assert table.grid.nearest({"x": 1.0, "w": "q"}) == 39


def test_the_top_is_what_so_many_points_reach(tmp_path):
    table = write(tmp_path / "many", {"x": range(200)}, [[i / 200] for i in range(200)])
    assert table.curves(0).top(0.01) == pytest.approx(198 / 200)
    assert table.curves(0).top(0.001) == pytest.approx(199 / 200)


def test_random_search_tries_each_point_once_and_finds_the_best(tmp_path):
    table = hill(tmp_path / "hill")
    trace = run(Chance(table, 0), table, start=1.0)
    assert trace.bests[-1] == 1.0
    assert run(Chance(table, 0), table, goal=2.0).seconds[-1] <= 128 * 3


def test_halving_stops_two_thirds_and_the_top_few_all_but_few(tmp_path):
    table = write(tmp_path / "many", {"x": range(9)}, [[i / 9] * 3 for i in range(9)])
    halved, top = ChanceHalved(table, 0), ChanceTop(table, 0, keep=2)
    values = [0.5, 0.4, 0.6, 0.3, 0.55, 0.7]
    assert [halved.tell(i, 1, v) for i, v in enumerate(values)] == [
        *(False, True, False, True),  # alone; below one; above all; below
        *(True, False),  # of five, one goes on; of six, two
    ]
    stopped = [top.tell(i, 1, v) for i, v in enumerate(values)]
    assert stopped == [False, False, False, True, False, False]


def test_ours_is_at_the_top_with_fewer_epochs_than_random(tmp_path):
    table = hill(tmp_path / "hill")
    goal = table.curves(0).top(0.01)

    def epochs(name):
        traces = [run(make(name, table, seed), table, start=1.0, goal=goal) for seed in range(5)]
        return sum(trace.first(goal)[1] for trace in traces)

    assert epochs("drmn") < epochs("random")


@pytest.mark.parametrize("peer", PEERS)
def test_each_peer_climbs(tmp_path, peer):
    if package := missing(peer):
        pytest.skip(f"{package} is not installed")
    table = hill(tmp_path / "hill")
    trace = run(make(peer, table, 0), table, goal=0.9)
    assert trace.bests[-1] >= 0.9


def test_the_benchmark_runs(tmp_path):
    hill(tmp_path / "hill")
    names = ["drmn", "random", "Optuna TPE"]
    command = [sys.executable, "benchmarks/search.py", "--quick", "--table", tmp_path / "hill"]
    command += ["--processes", "1", "--json", tmp_path / "out.json", "--only", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads((tmp_path / "out.json").read_text())
    assert set(out["figures"]) == {f"hill, 4 workers, {name}" for name in names}
    assert len(out["bars"]) == 3


@pytest.mark.parametrize(("flags", "cap"), [([], 1.0), (["--quick"], 1 / 16)])
def test_chance_is_replayed_to_the_end_as_others_are_measured_by_it(
    tmp_path, monkeypatch, flags, cap
):
    hill(tmp_path / "hill")
    names = ["drmn", "random"]
    told = ["search.py", "--table", str(tmp_path / "hill"), "--seeds", "1", "--only", *names]
    monkeypatch.setattr(sys, "argv", [*told, *flags])
    caps = {task.policy: task.cap for task in plan(read())}
    assert caps == {"drmn": min(0.5, cap), "random": cap}


def test_replays_that_are_kept_are_not_made_again(tmp_path):
    tasks = [Task(tmp_path, "t", "", "random", 4, seed, 1.0, 0.5) for seed in range(4)]
    made = []

    def scored(left):
        for task in left:
            made.append(task.seed)
            yield Score({"1 %": float(task.seed)}, {"1 %": 1}, {"1 %": True}, [0.5])

    file = tmp_path / "kept.jsonl"
    first = scores(tasks[:2], file, scored)
    assert scores(tasks, file, scored)[:2] == first
    assert made == [0, 1, 2, 3]
    assert [each.seconds["1 %"] for each in scores(tasks[::-1], file, scored)] == [3, 2, 1, 0]
    assert made == [0, 1, 2, 3]


def test_what_was_replayed_before_a_benchmark_was_killed_is_kept(tmp_path):
    tasks = [Task(tmp_path, "t", "", "random", 4, seed, 1.0, 0.5) for seed in range(2)]

    def killed(left):
        yield from [Score({}, {}, {}, [0.1]) for _ in left[:1]]
        raise KeyboardInterrupt

    file = tmp_path / "kept.jsonl"
    with pytest.raises(KeyboardInterrupt):
        scores(tasks, file, killed)
    assert len(file.read_text().splitlines()) == 1
