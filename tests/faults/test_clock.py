"""A clock that jumps while a search runs, forth and back."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kills import command, ended, epochs_of, finish, outcome, wait_for

pytestmark = pytest.mark.slow
DAY_S = 86_400


@pytest.fixture
def clock(tmp_path):
    """Return a file of the seconds by which clocks are off, and an environment that reads it."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler here, to build a clock that jumps")
    library, offset = tmp_path / "clock.so", tmp_path / "offset"
    source = Path(__file__).with_name("clock.c")
    build = [compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]
    subprocess.run(build, check=True)
    offset.write_text("0")
    return offset, os.environ | {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}


def test_a_clock_that_jumps_changes_no_result(demo, tmp_path, clock):
    calm = tmp_path / "calm"
    calm.mkdir()
    undisturbed = outcome(finish(command(calm, demo), calm))
    offset, environment = clock
    arguments = command(tmp_path, demo, "--budget.minutes", "30")
    record = demo / "studies" / tmp_path.name / "record.db"
    job = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, env=environment)
    for number, days in ((0, 1), (2, -2)):  # forth, and back to before the search was started
        wait_for(lambda number=number: epochs_of(record, number), job)
        offset.write_text(str(days * DAY_S))
    assert job.wait(480) == 0
    plain = ended(arguments, tmp_path)
    assert outcome(plain) == undisturbed
    assert 0 < plain["spent"]["worker_hours"] < 0.5
