"""The ledger: whatever is done to it other than adding an entry is found and named."""

import hashlib
import json
import multiprocessing
import re
from datetime import UTC, datetime, timedelta

import pytest

from drmn.data.sealed.ledger import append, verify
from drmn.errors import DataError

ZEROS = "0" * 64


def opening(root, name, *, again=True):
    """Open the test part in the folder `name`, which is its digest too."""
    (root / name).mkdir(exist_ok=True)
    what = {"dataset": "d", "sealed": name, "split": f"split {name}"}
    return append(root, root / name, **what, study="s", purpose="p\n", again=again)


@pytest.fixture
def root(tmp_path):
    """Three openings: one of a, then two of b."""
    for name in "abb":
        opening(tmp_path, name)
    return tmp_path


def read(root):
    return [json.loads(line) for line in (root / "ledger.jsonl").read_text().splitlines()]


def write(root, entries):
    lines = [json.dumps(e, sort_keys=True, separators=(",", ":")) + "\n" for e in entries]
    (root / "ledger.jsonl").write_text("".join(lines))


def hashed(entry, **changes):
    """The entry with changes and the hash that then is right, worked out here once more."""
    rest = {k: v for k, v in {**entry, **changes}.items() if k != "hash"}
    content = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    return {**rest, "hash": hashlib.sha256(content).hexdigest()}


def chained(entries):
    """The entries as a chain that is whole in itself."""
    out = []
    for number, entry in enumerate(entries, 1):
        previous = out[-1]["hash"] if out else ZEROS
        out.append(hashed(entry, number=number, previous=previous))
    return out


def test_an_entry_says_who_opened_what_when_and_what_for(tmp_path):
    entry = opening(tmp_path, "a", again=False)
    assert verify(tmp_path) == [entry]
    assert (entry.number, entry.dataset, entry.sealed) == (1, "d", "a")
    assert (entry.study, entry.purpose, entry.again) == ("s", "p\n", False)
    assert (entry.previous, len(entry.hash)) == (ZEROS, 64)
    assert re.fullmatch(r"[^@]+@.+", entry.who)
    age = datetime.now(UTC) - datetime.fromisoformat(entry.when)
    assert timedelta() <= age < timedelta(minutes=1)


def test_each_entry_holds_the_hash_of_the_one_before(root):
    one, two, three = read(root)
    assert [one["previous"], two["previous"], three["previous"]] == [
        ZEROS,
        one["hash"],
        two["hash"],
    ]
    assert chained([one, two, three]) == [one, two, three]
    assert [entry["again"] for entry in (one, two, three)] == [False, False, True]


def test_before_any_opening_there_is_no_entry(tmp_path):
    assert verify(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a, b, c: [a, {**b, "study": "t"}, c], "entry 2 was altered: its hash is of"),
        (lambda a, b, c: [a, {**b, "again": 0}, c], "entry 2 was altered: it is no entry"),
        (lambda a, b, c: [a, hashed(b, again=0), c], "entry 2 was altered: it is no entry"),
        (lambda a, b, c: [a, b | {"note": ""}, c], "entry 2 was altered: it is no entry"),
        (lambda a, b, c: [a, b, {}], "entry 3 was altered: it is no entry"),
        (lambda a, b, c: [a, [], c], "entry 2 was altered: it is no entry"),
        (lambda a, b, c: [a, hashed(b, study="t"), c], "entry 2 was altered: entry 3 does not"),
        (lambda a, b, c: [hashed(a, who="x@y"), b, c], "entry 1 was altered: entry 2 does not"),
        (lambda a, b, c: [a, b, hashed(c, study="t")], "entry 3 is not the one that {b} remem"),
        (lambda a, b, c: [b, c], "entry 1 was removed"),
        (lambda a, b, c: [a, c], "entry 2 was removed"),
        (lambda a, b, c: [a, b], "entry 3 was removed: {b} remembers it"),
        (lambda a, b, c: [], "entry 1 was removed: {a} remembers it"),
        (lambda a, b, c: [a, c, b], "entry 3 was moved: it stands where entry 2 belongs"),
        (lambda a, b, c: [b, a, c], "entry 2 was moved: it stands where entry 1 belongs"),
        (lambda a, b, c: [a, a, b, c], "entry 1 was inserted: it stands where entry 2 belongs"),
        (lambda a, b, c: [a, hashed(b, study="t"), b, c], "entry 2 was inserted: it stands where"),
        (lambda a, b, c: [a, hashed(b, number=9), b, c], "entry 9 was inserted: it stands where"),
        (lambda a, b, c: [hashed(a, previous="f" * 64), b, c], "the chain begins elsewhere"),
        (lambda a, b, c: [hashed(b, number=1), hashed(c, number=2)], "the chain begins elsewhere"),
        (lambda a, b, c: chained([a, {**b, "study": "t"}, c]), "entry 3 is not the one that {b}"),
        (lambda a, b, c: chained([{**a, "who": "x@y"}, b, c]), "entry 1 is not the one that {a}"),
        (lambda a, b, c: chained([a, c]), "entry 3 was removed: {b} remembers it"),
        (lambda a, b, c: chained([b, c]), "entry 1 is not the one that {a} remembers"),
        (lambda a, b, c: chained([a, c, b]), "entry 3 is not the one that {b} remembers"),
        (lambda a, b, c: chained([a, a, b, c]), "entry 3 is not the one that {b} remembers"),
    ],
)
def test_every_change_is_named_and_nothing_is_built_on_it(root, change, words):
    write(root, change(*read(root)))
    changed = (root / "ledger.jsonl").read_bytes()
    words = words.format(a=root / "a" / "opened.json", b=root / "b" / "opened.json")
    message = rf"^{root}/ledger\.jsonl: .*{re.escape(words)}.*; put a copy of the ledger back, "
    with pytest.raises(DataError, match=message):
        verify(root)
    with pytest.raises(DataError, match=message):
        opening(root, "c")
    assert (root / "ledger.jsonl").read_bytes() == changed


def test_a_ledger_that_is_gone_is_named(root):
    (root / "ledger.jsonl").unlink()
    message = f"entry 1 was removed: {root / 'a' / 'opened.json'} remembers it"
    with pytest.raises(DataError, match=re.escape(message)):
        verify(root)
    with pytest.raises(DataError, match=re.escape(message)):
        opening(root, "a")


def test_another_spelling_of_the_same_entry_is_a_change(root):
    text = (root / "ledger.jsonl").read_text()
    (root / "ledger.jsonl").write_text(text.replace('"study":', '"study": ', 1))
    with pytest.raises(DataError, match="entry 1 was altered"):
        verify(root)


@pytest.mark.parametrize("content", ["", "{}", '{"number": "x", "hash": ""}', "[]"])
def test_a_damaged_memory_of_an_opening_is_named(root, content):
    (root / "a" / "opened.json").write_text(content)
    message = f"{root / 'a' / 'opened.json'}: not a record of an opening; put a copy of it back."
    with pytest.raises(DataError, match=re.escape(message)):
        verify(root)


# Killed, not tampered with.


@pytest.mark.parametrize("left", ["none", "old"])
def test_a_process_killed_before_the_folder_remembers_leaves_a_ledger_that_is_whole(root, left):
    memory = root / "b" / "opened.json"
    old = memory.read_bytes()
    opening(root, "b")
    memory.unlink() if left == "none" else memory.write_bytes(old)
    assert len(verify(root)) == 4
    opening(root, "b")
    assert [entry.number for entry in verify(root)] == [1, 2, 3, 4, 5]
    assert json.loads(memory.read_text())["number"] == 5


@pytest.mark.parametrize("rest", [b"{", b'{"again":false,"dat', b"\0" * 300])
def test_an_unfinished_entry_is_told_apart_and_the_next_opening_moves_it_aside(root, rest, caplog):
    ledger = root / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + rest)
    message = (
        f"{ledger}: entry 4 is unfinished: the machine stopped while it was written, so nothing "
        "was opened by it; the next opening moves it to ledger.unfinished."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        verify(root)
    assert opening(root, "a").number == 4
    assert [entry.number for entry in verify(root)] == [1, 2, 3, 4]
    assert ledger.read_bytes().startswith(whole)
    assert (root / "ledger.unfinished").read_bytes() == rest + b"\n"
    assert "its last entry was unfinished; it was moved to ledger.unfinished" in caplog.text


def test_an_opening_that_is_refused_leaves_an_unfinished_entry_where_it_is(root):
    content = (root / "ledger.jsonl").read_bytes() + b"{"
    (root / "ledger.jsonl").write_bytes(content)
    with pytest.raises(DataError, match="was opened on"):
        opening(root, "a", again=False)
    assert (root / "ledger.jsonl").read_bytes() == content


@pytest.mark.parametrize("cut", [1, 20])
def test_an_entry_cut_short_that_a_folder_remembers_was_removed(root, cut):
    (root / "ledger.jsonl").write_bytes((root / "ledger.jsonl").read_bytes()[:-cut])
    with pytest.raises(DataError, match=r"entry 3 was removed: .*opened\.json remembers it"):
        verify(root)


# At once.


def open_often(root, name, start):
    start.wait()
    for _ in range(20):
        opening(root, name)


def test_two_processes_at_once_give_one_chain_with_the_entries_of_both(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    both = [spawn.Process(target=open_often, args=(tmp_path, n, start)) for n in "ab"]
    for process in both:
        process.start()
    start.wait()
    while any(process.is_alive() for process in both):
        verify(tmp_path)  # whoever looks meanwhile sees no contradiction
    assert [process.exitcode for process in both] == [0, 0]
    entries = verify(tmp_path)
    assert [entry.number for entry in entries] == list(range(1, 41))
    assert sorted(entry.sealed for entry in entries) == ["a"] * 20 + ["b"] * 20
