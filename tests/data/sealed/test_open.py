"""The sealed test split: what goes in comes out, once, and development cannot reach it."""

import json
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drmn.data.sealed import ledger
from drmn.data.sealed import seal as sealing
from drmn.data.sealed.open import open_test
from drmn.data.sealed.seal import seal
from drmn.errors import DataError

PART = sealing.TestPart(
    dataset="two",
    development="0123456789abcdef",
    images=("a+b/1.jpg", "ç/ü 2.jpg", "ç/3.jpg"),
    files=tuple(Path("/photos") / name for name in ("a+b/1.jpg", "ç/ü 2.jpg", "ç/3.jpg")),
    digests=("a", "b", "c"),
    labels=("a+b", "ç", "ç"),
    splits=("test_seen", "test_unseen", "test_unseen"),
    sizes=np.array([[480, 640], [100, 90], [7, 5]]),
    boxes=np.array([[0, 0, 640, 480], [1, 2, 3, 4], [0, 0, 5, 7]]),
    unseen=("ç",),
    attributes=np.array([[1 / 3, np.sqrt(8) / 3]]),
)
PLAIN = (
    "dataset",
    "development",
    "images",
    "files",
    "digests",
    "labels",
    "splits",
    "unseen",
    "skipped",
)
WHICH = {"dataset": "two", "development": PART.development}


def opened(root, **changes):
    return open_test(root, **{**WHICH, "study": "s", "purpose": "the final figures", **changes})


def moved(array, *place):
    changed = array.copy()
    changed[place] += 1
    return changed


@pytest.mark.parametrize(
    "part",
    [PART, replace(PART, boxes=None), replace(PART, skipped=("ç/4.jpg",))],
    ids=["boxes", "no boxes", "skipped"],
)
def test_what_goes_in_comes_out(tmp_path, part):
    seal(tmp_path, part)
    out = opened(tmp_path)
    assert out.digest == part.digest
    for name in PLAIN:
        assert getattr(out, name) == getattr(part, name), name
    for name in ("sizes", "boxes", "attributes"):
        left, right = getattr(out, name), getattr(part, name)
        np.testing.assert_array_equal(left, right)
        assert right is None or left.dtype == right.dtype, name


def test_where_images_lie_is_kept_for_whoever_opens_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seal(tmp_path, replace(PART, files=tuple(map(Path, PART.images))))
    assert opened(tmp_path).files == tuple(tmp_path / path for path in PART.images)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "three"},
        {"images": ("ç/ü 2.jpg", "a+b/1.jpg", "ç/3.jpg")},
        {"digests": ("a", "b", "d")},
        {"labels": ("a+b", "ç", "a+b")},
        {"splits": ("test_seen", "test_unseen", "test_seen")},
        {"sizes": moved(PART.sizes, 2, 1)},
        {"boxes": moved(PART.boxes, 1, 3)},
        {"boxes": None},
        {"unseen": ("c",)},
        {"attributes": np.nextafter(PART.attributes, 1)},
    ],
    ids=str,
)
def test_the_digest_changes_with_each_part_of_the_content(change):
    assert replace(PART, **change).digest != PART.digest


def test_the_digest_does_not_change_with_where_the_images_lie():
    elsewhere = tuple(Path("/elsewhere") / path for path in PART.images)
    assert replace(PART, files=elsewhere).digest == PART.digest


def test_a_sealed_folder_is_its_owners_and_its_files_are_not_for_writing(tmp_path):
    folder = seal(tmp_path / "sealed", PART)
    assert folder == tmp_path / "sealed" / f"two-0123456789abcdef-{PART.digest[:12]}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == dict.fromkeys(("about.json", "classes.parquet", "images.parquet"), 0o400)


def test_sealing_again_leaves_the_folder_as_it_is(tmp_path):
    folder = seal(tmp_path, PART)
    opened(tmp_path)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir()}
    assert seal(tmp_path, replace(PART, files=(Path("/elsewhere"),) * 3)) == folder
    after = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir()}
    assert after == before
    assert list(tmp_path.glob(".*")) == []


def test_sealing_that_breaks_off_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="expected length 3"):
        seal(tmp_path, replace(PART, labels=("a+b",)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_sealing_that_was_killed_is_no_test_split(tmp_path):
    folder = seal(tmp_path, PART)
    scratch = tmp_path / f".{folder.name}-x7f3"
    scratch.mkdir()
    folder.rename(scratch / folder.name)
    message = (
        f"{tmp_path}: no sealed test split of two for the development data 0123456789abcdef; "
        "run jobs/prepare.py."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        opened(tmp_path)


@pytest.mark.parametrize("which", [{"dataset": "tw"}, {"development": "0123"}])
def test_the_test_split_of_other_data_is_not_taken_instead(tmp_path, which):
    seal(tmp_path, PART)
    with pytest.raises(DataError, match=r"no sealed test split of .*; run jobs/prepare\.py\."):
        opened(tmp_path, **which)
    assert ledger.verify(tmp_path) == []


def test_two_test_splits_for_one_development_data_are_not_chosen_from(tmp_path):
    one, two = seal(tmp_path, PART), seal(tmp_path, replace(PART, digests=("a", "b", "x")))
    names = ", ".join(sorted((one.name, two.name)))
    with pytest.raises(DataError, match=rf"2 test splits of two .*: {names}; .* move away"):
        opened(tmp_path)


# Once.


@pytest.mark.parametrize("study", ["s", "another"])
def test_a_second_opening_is_refused_whichever_study_asks(tmp_path, study):
    seal(tmp_path, PART)
    opened(tmp_path)
    (first,) = ledger.verify(tmp_path)
    message = (
        f"The test split of two was opened on {first.when} by {first.who} for study s; "
        'open it again with --reopen "REASON", which every report will show.'
    )
    with pytest.raises(DataError, match=re.escape(message)):
        opened(tmp_path, study=study)
    assert ledger.verify(tmp_path) == [first]


def test_other_development_data_do_not_make_the_test_split_unread(tmp_path):
    """Word vectors added, a bad photo mended: the figures read from the test set stay read."""
    for development in (PART.development, "fedcba9876543210"):
        seal(tmp_path, replace(PART, development=development))
    opened(tmp_path)
    with pytest.raises(DataError, match="was opened on"):
        opened(tmp_path, development="fedcba9876543210")


@pytest.mark.parametrize(
    "change",
    [
        {"digests": ("a", "b", "mended")},
        {"images": ("1", "2", "3"), "boxes": None},
        {"attributes": PART.attributes[:, ::-1].copy()},
    ],
    ids=str,
)
def test_other_files_of_the_same_test_do_not_make_it_unread(tmp_path, change):
    """One photo mended, the features of a file instead of photos: it is the same test."""
    seal(tmp_path, PART)
    opened(tmp_path)
    other = replace(PART, development="fedcba9876543210", **change)
    assert other.digest != PART.digest
    seal(tmp_path, other)
    with pytest.raises(DataError, match="was opened on"):
        opened(tmp_path, development=other.development)


def test_a_test_of_other_classes_is_another_one(tmp_path):
    seal(tmp_path, PART)
    opened(tmp_path)
    other = replace(PART, development="fedcba9876543210", unseen=("d",), labels=("a", "d", "d"))
    seal(tmp_path, other)
    assert opened(tmp_path, development=other.development).unseen == ("d",)


def test_opening_again_is_on_record_as_such_and_a_first_opening_is_not(tmp_path):
    seal(tmp_path, PART)
    opened(tmp_path, again=True)
    opened(tmp_path, study="another", again=True)
    entries = ledger.verify(tmp_path)
    assert [(e.study, e.again) for e in entries] == [("s", False), ("another", True)]
    assert {e.sealed for e in entries} == {PART.digest}


def test_another_test_split_may_still_be_opened(tmp_path):
    seal(tmp_path, PART)
    seal(tmp_path, replace(PART, dataset="three"))
    opened(tmp_path)
    assert opened(tmp_path, dataset="three").dataset == "three"
    assert [entry.again for entry in ledger.verify(tmp_path)] == [False, False]


def test_sealing_anew_what_was_opened_does_not_make_it_unopened(tmp_path):
    folder = seal(tmp_path, PART)
    opened(tmp_path)
    shutil.rmtree(folder)
    seal(tmp_path, PART)
    with pytest.raises(DataError, match="was opened on"):
        opened(tmp_path)


def test_an_opening_that_breaks_off_is_on_record(tmp_path):
    folder = seal(tmp_path, PART)
    forge(folder, "classes.parquet")
    with pytest.raises(DataError, match="not as it was sealed"):
        opened(tmp_path)
    assert [entry.study for entry in ledger.verify(tmp_path)] == ["s"]


def test_of_two_processes_that_open_at_once_one_is_refused(tmp_path):
    seal(tmp_path, PART)
    code = (
        "import sys; from pathlib import Path; from drmn.data.sealed.open import open_test; "
        f"open_test(Path(sys.argv[1]), **{WHICH}, study=sys.argv[2], purpose='race')"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path, study], stderr=subprocess.PIPE)
        for study in ("one", "two")
    ]
    said = [process.communicate()[1].decode() for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert "was opened on" in "".join(said)
    assert len(ledger.verify(tmp_path)) == 1


# Altered.


def forge(folder, name):
    """Alter a file and the digest that `about.json` has of it."""
    other = seal(folder.parent / "other", replace(PART, unseen=("q",), digests=("a", "b", "x")))
    (folder / name).unlink()
    shutil.copy(other / name, folder / name)
    about = json.loads((folder / "about.json").read_text())
    about["files"][name] = json.loads((other / "about.json").read_text())["files"][name]
    (folder / "about.json").write_text(json.dumps(about))


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.parquet", flip),
        ("images.parquet", Path.unlink),
        ("classes.parquet", flip),
        ("classes.parquet", Path.unlink),
        ("about.json", Path.unlink),
        ("about.json", lambda file: file.write_text("{")),
        ("about.json", lambda file: file.write_text("[]")),
        ("about.json", lambda file: file.write_text(file.read_text().replace(PART.digest, "f"))),
    ],
)
def test_an_altered_file_is_refused_by_name_and_nothing_is_opened(tmp_path, name, damage):
    folder = seal(tmp_path, PART)
    damage(folder / name)
    with pytest.raises(DataError, match=re.escape(f"{folder / name}: not as it was sealed; ")):
        opened(tmp_path)
    assert ledger.verify(tmp_path) == []


@pytest.mark.parametrize("name", ["images.parquet", "classes.parquet"])
def test_a_file_altered_together_with_its_digest_is_refused(tmp_path, name):
    folder = seal(tmp_path, PART)
    forge(folder, name)
    message = f"{folder / 'about.json'}: not as it was sealed; put a copy of it back"
    with pytest.raises(DataError, match=re.escape(message)):
        opened(tmp_path)


# Out of reach.


def test_what_trains_and_searches_does_not_load_what_opens_the_test_split():
    code = (
        "import sys, drmn.training.loop, drmn.search.driver, drmn.evaluation.baselines; "
        "import drmn.model.extraction; "
        "print(*sorted(name for name in sys.modules if name.startswith('drmn.data')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "drmn.data.splits.development" in loaded
    assert {"drmn.data.sealed.open", "drmn.data.sealed.seal", "drmn.data.sealed.ledger"}.isdisjoint(
        loaded
    )
