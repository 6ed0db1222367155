"""Options of a command line: which were given, which a mode uses, and the home folder in them."""

import re

import pytest

from drmn.errors import ConfigError
from drmn.flags import expand_home, flag, given, refuse_unused


def test_given_options_are_found_in_every_spelling():
    line = [
        "--optim.batch-size",
        "8",
        "--no-figures",
        "--json=x.json",
        "--pictures.images",
        "a",
        "b",
    ]
    assert given(line) == {
        "optim.batch_size": "8",
        "no_figures": "",
        "json": "x.json",
        "pictures.images": "a b",
    }
    assert given(["--optim.batch_size", "-1"]) == {"optim.batch_size": "-1"}
    assert flag("optim.batch_size") == "--optim.batch-size"


def test_an_option_that_a_mode_does_not_use_is_refused_with_its_value():
    told = "--optim.lr 3: --list does not use it; leave it out."
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}$"):
        refuse_unused({"list": "", "optim.lr": "3"}, {"list"}, "--list")
    refuse_unused({"list": ""}, {"list"}, "--list")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~", "/home/me"),
        ("~/data", "/home/me/data"),
        ("--results=~/out", "--results=/home/me/out"),
        ("sqlite:///~/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("--tracking-uri=sqlite:///~/mlflow.db", "--tracking-uri=sqlite:////home/me/mlflow.db"),
        ("data/~old", "data/~old"),
        ("~other", "~other"),
        ("s3://bucket/~/x", "s3://bucket/~/x"),
        ("--list", "--list"),
    ],
)
def test_a_leading_tilde_is_the_home_folder_where_no_shell_expands_it(monkeypatch, typed, meant):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_home(typed) == meant
