"""A search waits until a full disk has room again, for bytes and for files."""

import logging
from pathlib import Path

import pytest
from mounts import disk

from drmn.search.storage import disk_full


@pytest.mark.parametrize(
    ("options", "fill"),
    [
        ("size=33m", lambda thief: (thief / "bytes").write_bytes(bytes(8 << 20))),
        # The probe would fit, but not three such checkpoints.
        ("size=96m", lambda thief: (thief / "0001" / "last.tmp").write_bytes(bytes(30 << 20))),
        ("size=64m,nr_inodes=130", lambda thief: [(thief / str(n)).touch() for n in range(60)]),
    ],
    ids=["bytes", "a checkpoint", "files"],
)
def test_what_waits_for_space_says_so_once_and_goes_on_when_there_is(
    tmp_path, monkeypatch, caplog, options, fill
):
    with disk(tmp_path / "disk", options) as small:
        thief, waits = small / "trials", []
        (thief / "0001").mkdir(parents=True)
        fill(thief)

        def sleep(seconds):
            waits.append(seconds)
            if len(waits) == 3:
                for file in filter(Path.is_file, thief.rglob("*")):
                    file.unlink()

        monkeypatch.setattr(disk_full.time, "sleep", sleep)
        with caplog.at_level(logging.WARNING):
            disk_full.wait_for_space(small)
        assert len(waits) == 3
        said, resumed = (record.getMessage() for record in caplog.records)
        assert said.startswith(f"{small}: the disk is full; the search waits")
        assert resumed == f"{small}: there is space again; the search resumes."
        assert [path.name for path in small.iterdir()] == ["trials"]
