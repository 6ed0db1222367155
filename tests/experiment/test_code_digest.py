"""A study's code: what decides a trial's result counts, and nothing else."""

import pytest

from drmn.experiment import code_digest


def package(root, **files):
    for name, text in files.items():
        path = root / "drmn" / f"{name.replace('_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    return code_digest.digest(("drmn.train",), root)


FILES = {
    "train": "import torch\nfrom drmn import losses\nfrom drmn.data.maps import read\n"
    "def fit(x):\n    return losses.scaled(read(x))\n",
    "losses": '"""Losses."""\nWEIGHT = 1\n"""Of a term."""\n'
    "def scaled(x):\n    return WEIGHT * x\n",
    "data_maps": "def read(x):\n    from drmn.late import y\n    return x + y\n",
    "late": "y = 1\ndef check(x):\n    if x < 0:\n        raise ValueError(f'bad {x}')\n",
    "printing": "BLUE = 1\n",
}


@pytest.fixture
def before(tmp_path):
    return package(tmp_path / "before", **FILES)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("losses", "WEIGHT = 1", "WEIGHT = 2"),
        ("losses", "WEIGHT * x", "WEIGHT + x"),
        ("data_maps", "x + y", "x - y"),
        ("late", "y = 1", "y = 1.0"),
        ("late", "x < 0", "x <= 0"),
        ("late", "{x}", "{-x}"),
        ("train", "losses.scaled(read(x))", "read(losses.scaled(x))"),
        ("train", "from drmn.data.maps import read", "from drmn.late import check as read"),
    ],
)
def test_what_decides_a_result_changes_the_digest_however_far_down(
    tmp_path, before, name, old, new
):
    assert old in FILES[name]
    assert package(tmp_path, **FILES | {name: FILES[name].replace(old, new)}) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("losses", '"""Losses."""', '"""Loss terms."""'),
        ("losses", '"""Losses."""', ""),
        ("losses", '"""Of a term."""', '"""Weight of the term."""'),
        ("losses", "WEIGHT = 1", "WEIGHT = (1)  # a comment"),
        ("late", "bad {x}", "must not be below 0; got {x}"),
        ("train", "    return", "\n\n    return"),
        ("printing", "BLUE = 1", "BLUE = 2"),
    ],
)
def test_docstrings_comments_layout_and_wording_do_not(tmp_path, before, name, old, new):
    assert old in FILES[name]
    assert package(tmp_path, **FILES | {name: FILES[name].replace(old, new)}) == before


def test_a_module_may_be_renamed_and_moved(tmp_path, before):
    moved = FILES | {
        "train": "import torch\nfrom drmn.a.loader import read\nfrom drmn.training import terms\n"
        "def fit(x):\n    return terms.scaled(read(x))\n",
        "training_terms": FILES["losses"],
        "a_loader": FILES["data_maps"].replace("drmn.late", "drmn.io.early"),
        "io_early": FILES["late"],
    }
    del moved["losses"], moved["data_maps"], moved["late"]
    assert package(tmp_path, **moved) == before


@pytest.mark.long
def test_our_own_code_is_followed_to_the_losses_and_not_to_the_terminal(monkeypatch):
    read = []
    found = code_digest._file
    code_digest._digest.cache_clear()
    monkeypatch.setattr(
        code_digest, "_file", lambda name, root: read.append(name) or found(name, root)
    )
    code_digest.digest()
    assert {
        "drmn.training.losses",
        "drmn.model.interaction",
        "drmn.search.samplers.sampler_study",
    } <= set(read)
    assert not [name for name in read if name.startswith(("drmn.report", "drmn.tracking"))]


def test_files_are_read_again_once_one_has_changed(tmp_path, monkeypatch):
    before = package(tmp_path, **FILES)
    with monkeypatch.context() as patch:
        patch.setattr(code_digest.ast, "parse", lambda _: pytest.fail("read again"))
        assert code_digest.digest(("drmn.train",), tmp_path) == before
    assert package(tmp_path, **FILES | {"late": "y = 22\n"}) != before
