"""A study's code: what decides a trial's outcome, and nothing else."""

from drmn.search import code


def package(root, **files):
    for name, text in files.items():
        path = root / "drmn" / f"{name.replace('_', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return code.digest(("drmn.train",), root)


FILES = {
    "train": "import torch\nfrom drmn import losses\nfrom drmn.data.maps import read",
    "losses": "WEIGHT = 1",
    "data_maps": "def read(): from drmn.late import x",
    "late": "x = 1",
    "printing": "BLUE = 1",
}


def test_a_change_to_what_trains_changes_the_digest_however_far_down(tmp_path):
    before = package(tmp_path, **FILES)
    for name in ("train", "losses", "data_maps", "late"):
        assert package(tmp_path, **FILES | {name: FILES[name] + "\n"}) != before, name
    assert package(tmp_path, **FILES) == before


def test_a_change_to_what_is_printed_does_not(tmp_path):
    before = package(tmp_path, **FILES)
    assert package(tmp_path, **FILES | {"printing": "BLUE = 2"}) == before


def test_our_own_code_is_followed_to_the_losses_and_not_to_the_terminal(monkeypatch):
    read = []
    found = code._file
    monkeypatch.setattr(code, "_file", lambda name, root: read.append(name) or found(name, root))
    code.digest()
    assert {"drmn.losses", "drmn.model.interaction", "drmn.search.policy"} <= set(read)
    assert not [name for name in read if name.startswith(("drmn.report", "drmn.tracking"))]
