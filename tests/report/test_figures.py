"""What a study's figures are drawn of, and how honest their titles are."""

import re
from unittest.mock import Mock

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from drmn.experiment.trial_checkpoints import FIGURES
from drmn.io import content
from drmn.report import figures
from drmn.report.live_figures import LiveFigures
from drmn.report.study_plots import axis_of, history_of
from drmn.search.analysis.diagnostics import effects

POLICY = {
    "policy.objective": "val/H",
    "policy.first_rung": 3,
    "policy.pruner": "halving",
    "policy.sampler": "tpe",
    "policy.startup_trials": 10,
}
SPACE = {"optim.lr": FloatDistribution(0.0, 1.0), "model.sit": CategoricalDistribution(["a", "b"])}


def trial(number, epochs, state, **attributes):
    """Return a trial whose value at epoch e is its lr plus e hundredths; `b` is as good as `a`."""
    lr = (number * 7 % 20) / 20
    params = {"optim.lr": lr, "model.sit": "ab"[number % 2]}
    values = {epoch: lr + epoch / 100 for epoch in range(1, epochs + 1)}
    return create_trial(
        state=state,
        value=max(values.values()) if state == TrialState.COMPLETE else None,
        params=params,
        distributions=SPACE,
        intermediate_values=values,
        user_attrs={"settings": {}, **attributes},
    )


def study(trials, **policy):
    made = optuna.create_study(direction="maximize", study_name="toy")
    made.set_user_attr("identity", {**POLICY, **policy})
    made.add_trials(trials)
    return made


def searched(count=14, **policy):
    """Return a study in which every second trial was stopped at epoch 3."""
    states = [(9, TrialState.COMPLETE), (3, TrialState.PRUNED)]
    return study([trial(n, *states[n % 2]) for n in range(count)], **policy)


def test_trials_are_compared_where_all_of_them_were_the_stopped_ones_too():
    early, epoch = figures.compared(searched())
    assert epoch == 3
    assert [t.value for t in early.trials] == pytest.approx(
        [(n * 7 % 20) / 20 + 0.03 for n in range(14)]
    )


def test_without_pruning_they_are_compared_at_the_last_epoch_of_all():
    early, epoch = figures.compared(
        study([trial(n, 5 + n, TrialState.COMPLETE) for n in range(3)], **{"policy.pruner": "none"})
    )
    assert (epoch, len(early.trials)) == (5, 3)


def test_a_stopped_trial_and_one_of_the_other_tier_have_no_place_among_values():
    made = searched()
    made.add_trial(trial(14, 9, TrialState.COMPLETE, again=0))
    assert len(figures.finished(made).trials) == 7
    assert len(figures.compared(made)[0].trials) == 14


def noisy(count):
    """Return a study whose trials all reached epoch 9; their values follow `model.sit` alone."""
    made = [trial(n, 9, TrialState.COMPLETE) for n in range(count)]
    for each in made:
        worth = float(each.params["model.sit"] == "b") + 0.01 * each.params["optim.lr"]
        each.intermediate_values = dict.fromkeys(range(1, 10), worth)
        each.value = worth
    return study(made)


def drawn(study, tmp_path):
    """Return the page of a study."""
    return figures.draw_study(study, tmp_path).read_text()


def test_the_page_has_the_shares_that_the_search_prints_and_none_where_they_are_not_known(tmp_path):
    made = noisy(24)
    page = drawn(made, tmp_path)
    assert "What explains val/H by epoch 3" in page
    for each in effects(made.get_trials(), 3):
        assert f"{each.share:.2f} ({each.low:.2f} to {each.high:.2f})</title>" in page
        assert f">{each.name}</text>" in page
    assert "What explains" not in drawn(noisy(19), tmp_path)


def test_the_history_has_the_trials_own_numbers_and_the_stopped_ones():
    made = searched()  # the odd ones were stopped; trial 0 is a failure, without an epoch
    failed = study([trial(99, 0, TrialState.FAIL), *made.get_trials(deepcopy=False)[1:]])
    failed.add_trial(trial(20, 9, TrialState.COMPLETE, again=2))
    found = history_of(failed)
    assert [number for number, _ in found.points["complete"]] == [2, 4, 6, 8, 10, 12]
    assert [number for number, _ in found.points["stopped early"]] == [1, 3, 5, 7, 9, 11, 13]
    assert [number for number, _ in found.points["fine-tuned"]] == [14]
    values = {t.number: max(t.intermediate_values.values(), default=0) for t in failed.trials}
    assert found.winner == max(values, key=values.get)
    assert found.best[-1] == (14, max(values.values()))


def test_plots_of_some_trials_keep_their_numbers(tmp_path):
    made = study([trial(0, 2, TrialState.COMPLETE), *searched().get_trials(deepcopy=False)[1:]])
    early, _ = figures.compared(made)
    assert [t.number for t in early.trials] == list(range(1, 14))  # trial 0 has no epoch 3
    assert [t.number for t in figures.finished(made).trials] == [0, 2, 4, 6, 8, 10, 12]
    page = drawn(made, tmp_path)
    slices = page.split("Each setting against")[1].split("<h2>")[0]
    told = re.findall(r"<title>trial (\d+): optim\.lr ([0-9.]+): ([0-9.]+)</title>", slices)
    assert [(int(n), float(v)) for n, _, v in told] == [
        (t.number, pytest.approx(100 * t.value, abs=0.06)) for t in early.trials
    ]
    lines = page.split("<h2>Parallel coordinates")[1].split("<h2>")[0]
    assert sorted(map(int, re.findall(r"<title>trial (\d+)", lines))) == [0, 2, 4, 6, 8, 10, 12]


def test_the_page_needs_no_network_and_is_small(tmp_path):
    page = drawn(noisy(24), tmp_path)
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert page.count("<svg") == 5  # history, two settings, effects, parallel coordinates
    assert len(page) < 100_000


def test_the_page_lists_the_best_trials_and_the_causes_of_failed_ones(tmp_path):
    made = searched()
    made.add_trial(trial(99, 0, TrialState.FAIL, cause="its process was lost <3 times>"))
    page = drawn(made, tmp_path)
    rows = page.split("The best trials")[1].split("</table>")[0]
    numbers = [int(n) for n in re.findall(r"<td>trial (\d+)</td>", rows)]
    values = {t.number: max(t.intermediate_values.values(), default=0) for t in made.trials}
    assert numbers == sorted(values, key=lambda n: (-values[n], n))[:10]
    assert "<td>its process was lost &lt;3 times&gt;</td>" in page


def test_a_setting_that_some_trials_have_is_drawn_of_these(tmp_path):
    made = searched()
    more = create_trial(
        value=0.5,
        params={"optim.lr": 0.5, "model.sit": "b", "model.sit_dropout": 0.3},
        distributions={**SPACE, "model.sit_dropout": FloatDistribution(1e-3, 1.0, log=True)},
        intermediate_values={1: 0.1, 2: 0.2, 3: 0.5},
        user_attrs={"settings": {}},
    )
    made.add_trial(more)
    slices = drawn(made, tmp_path).split("Each setting against")[1].split("<h2>")[0]
    assert re.findall(r"<title>trial (\d+): model\.sit_dropout", slices) == ["14"]


def test_an_axis_places_values_over_the_whole_range_of_the_space():
    one = create_trial(
        value=0.1,
        params={"a": 0.01, "b": "y", "c": 3},
        distributions={
            "a": FloatDistribution(1e-4, 1.0, log=True),
            "b": CategoricalDistribution(["x", "y", "z"]),
            "c": IntDistribution(1, 5),
        },
    )
    a, b, c = (axis_of(name, [one]) for name in "abc")
    assert [a.place(0.01), b.place("y"), c.place(3)] == pytest.approx([0.5, 0.5, 0.5])
    assert a.labels() == [
        (pytest.approx(n / 4), text)
        for n, text in enumerate(["0.0001", "0.001", "0.01", "0.1", "1"])
    ]
    assert b.labels() == [(0.0, "x"), (0.5, "y"), (1.0, "z")]


@pytest.mark.long
def test_the_page_of_a_thousand_trials_is_small_and_complete(tmp_path):
    page = drawn(searched(1000), tmp_path)
    assert len(page) < 2_000_000
    assert page.count("<polyline") == 501  # 500 complete ones, and the history


def test_of_a_study_without_results_nothing_is_plotted(tmp_path):
    assert "<svg" not in drawn(study([]), tmp_path)
    assert "<svg" not in drawn(study([trial(0, 3, TrialState.COMPLETE)]), tmp_path)


def test_an_artist_that_is_not_wanted_starts_nothing(tmp_path):
    artist = LiveFigures(tmp_path, "", wanted=False)
    artist.on_study_end()
    assert artist.process is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_figures_that_fail_cost_a_search_nothing_else(tmp_path):
    artist = LiveFigures(tmp_path, "", wanted=True)  # there is no record
    artist.on_study_end()
    assert artist.process.returncode != 0
    assert "There is no study" in (tmp_path / "figures.log").read_text()


def test_figures_are_drawn_at_the_end_unless_they_are_whole_and_of_the_study_as_it_is(
    tmp_path, monkeypatch
):
    drawn = []
    now = [study([trial(0, 3, TrialState.COMPLETE)])]
    monkeypatch.setattr("drmn.report.live_figures.load_study", lambda *_: now[0])
    monkeypatch.setattr(LiveFigures, "_draw", lambda _: drawn.append(1) or Mock())
    (tmp_path / FIGURES).mkdir()
    (tmp_path / FIGURES / "study.html").write_text("page")
    content.note_made(tmp_path / FIGURES, figures.drawn_of(now[0]))
    LiveFigures(tmp_path, "", wanted=True).on_study_end()
    assert drawn == []
    (tmp_path / FIGURES / "study.html").write_text("pag")
    LiveFigures(tmp_path, "", wanted=True).on_study_end()
    assert len(drawn) == 1
    (tmp_path / FIGURES / "study.html").write_text("page")
    now[0] = study([trial(0, 3, TrialState.COMPLETE), trial(1, 3, TrialState.COMPLETE)])
    LiveFigures(tmp_path, "", wanted=True).on_study_end()
    assert len(drawn) == 2
