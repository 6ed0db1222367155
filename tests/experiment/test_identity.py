"""The sentence about a study that was started with other settings."""

from drmn.experiment.identity import refusal

MADE = {
    "data": "a",
    "code": "1",
    "space_digest": "x",
    "fork": "",
    "policy.first_rung": 3,
    "base.optim.batch_size": 32,
}


def said(**changes):
    now = {**MADE, **{key.replace("__", "."): value for key, value in changes.items()}}
    return refusal("study", "toy", MADE, now).removeprefix(
        "Study toy was started with other settings: "
    )


def test_differences_name_flags_and_words_where_there_is_none():
    assert said(base__optim__batch_size=8).startswith("--optim.batch-size was 32, now 8. Give")
    assert said(policy__first_rung=1).startswith("--policy.first-rung was 3, now 1. Give")
    assert said(fork="other").startswith("--fork was empty, now 'other'. Give")
    assert said(code="2").startswith("the code that trains was '1', now '2'. Give")
    assert said(space_digest="y").startswith("the text of the space was 'x', now 'y'. Give")
    assert said(data="b").startswith("the data or features (--dataset, --data-root, --backbone")


def test_a_setting_that_was_left_to_the_space_is_one_difference():
    now = {"base__optim__batch_size": 8, "given__optim__batch_size": 8}
    assert said(**now).startswith("--optim.batch-size was left to the space, now 8. Give")
    same = {"given__optim__batch_size": 32}
    assert said(**same).startswith("--optim.batch-size was left to the space, now 32. Give")


def test_at_most_three_differences_are_named():
    text = said(data="b", code="2", space_digest="y", fork="z", policy__first_rung=1)
    assert " and 2 more. Give the old ones to resume it, or --study NAME to start" in text
