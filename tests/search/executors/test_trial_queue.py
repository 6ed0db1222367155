"""The board: each trial to one group, each answer to all its workers, nothing lost with a group."""

import asyncio
from dataclasses import dataclass

import pytest

from drmn.search.executors.trial_queue import LostProcessError, ResizedGroupError, TrialQueue


@dataclass
class Task:
    folder: str


async def soon(waiting):
    """Return what comes at once; fail if it does not."""
    return await asyncio.wait_for(waiting, 5)


async def waits(waiting):
    """Return a task that is seen to wait."""
    task = asyncio.ensure_future(waiting)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def run(story):
    return asyncio.run(story())


def test_a_group_of_two_takes_a_trial_together_and_ends_it_together():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        first = await soon(board.take(0, 0, 2, "p0"))
        assert first == ("a", Task("a"))
        early = await waits(board.take(1, 0, 2, "q0"))  # no trial is given to two groups
        assert await soon(board.take(0, 1, 2, "p1")) == first
        asked = asyncio.ensure_future(board.next("a"))
        verdicts = [
            await waits(board.tell(0, "a", rank, 1, {"epoch": 1, "rank": rank})) for rank in (0, 1)
        ]
        assert await soon(asked) == {"epoch": 1, "rank": 0}  # told once, by the first
        asked = asyncio.ensure_future(board.next("a"))
        assert [await soon(verdict) for verdict in verdicts] == [True, True]
        verdict = await waits(board.tell(0, "a", 0, 2, {"epoch": 2}))
        assert await soon(asked) == {"epoch": 2}
        await board.leave("a")
        assert not await soon(verdict)
        assert not await soon(board.tell(0, "a", 1, 2, {"epoch": 2}))
        await board.close()
        assert await soon(early) is None

    run(story)


def test_a_slow_worker_gets_the_answer_that_the_quick_one_got():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        for rank in (0, 1):
            await soon(board.take(0, rank, 2, f"p{rank}"))
        for _ in range(2):
            asked = asyncio.ensure_future(board.next("a"))
            await asyncio.sleep(0)
        assert await soon(board.tell(0, "a", 0, 1, {"epoch": 1}))
        await board.leave("a")  # while the quick one trains on, and would wait for the slow one
        assert await soon(board.tell(0, "a", 1, 1, {"epoch": 1}))
        assert not await soon(board.tell(0, "a", 1, 2, {"epoch": 2}))
        asked.cancel()

    run(story)


def test_a_worker_takes_no_second_trial_before_all_have_the_first():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        await board.submit("b", Task("b"))
        await soon(board.take(0, 0, 2, "p0"))
        await board.leave("a")
        ahead = await waits(board.take(0, 0, 2, "p0"))
        assert (await soon(board.take(0, 1, 2, "p1")))[0] == "a"
        assert (await soon(ahead))[0] == "b"
        assert (await soon(board.take(0, 1, 2, "p1")))[0] == "b"

    run(story)


@pytest.mark.parametrize("how", ["told by Ray Train", "seen by the process"])
def test_a_group_that_lost_a_worker_gives_its_trial_back_and_takes_another(how):
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        await board.submit("b", Task("b"))
        await soon(board.take(0, 0, 1, "p0"))
        asked = await waits(board.next("a"))
        if how == "told by Ray Train":
            await board.lost(0, "killed")
        taken = await soon(board.take(0, 0, 1, "p1"))
        with pytest.raises(LostProcessError):
            await soon(asked)
        assert taken[0] == "b"
        assert not await soon(board.tell(0, "a", 0, 1, {}))  # the old worker, should it still live

    run(story)


def test_a_group_that_ray_made_larger_gives_its_trial_back_as_nobody_s_fault():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        assert await soon(board.take(0, 0, 1, "p0"))
        asked = asyncio.ensure_future(board.next("a"))
        await asyncio.sleep(0)
        others = [await waits(board.take(0, rank, 2, f"q{rank}")) for rank in (0, 1)]
        with pytest.raises(ResizedGroupError):
            await soon(asked)
        await board.submit("again", Task("a"))  # as the driver does with a trial that was lost
        assert [await soon(other) for other in others] == [("again", Task("a"))] * 2

    run(story)


def test_a_trial_that_no_worker_had_begun_is_not_lost_with_its_group():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        assert await soon(board.work(0))
        asked = await waits(board.next("a"))
        await board.lost(0, "no room")
        assert (await soon(board.take(1, 0, 1, "q0")))[0] == "a"
        assert not asked.done()
        asked.cancel()

    run(story)


def test_what_a_trial_raised_is_raised_where_it_was_asked_for():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        await soon(board.take(0, 0, 1, "p0"))
        asked = await waits(board.next("a"))
        await board.fail(0, "a", ValueError("no such level"))
        with pytest.raises(ValueError, match="no such level"):
            await soon(asked)
        await board.lost(0, "its worker raised")  # what Ray Train adds changes nothing
        with pytest.raises(ValueError, match="no such level"):
            await soon(board.next("a"))

    run(story)


def test_two_groups_never_write_into_one_folder():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("0007"))
        await soon(board.take(0, 0, 1, "p0"))
        # Whoever asked for it died, and the record hands the trial out again.
        await board.submit("b", Task("0007"))
        other = await waits(board.take(1, 0, 1, "q0"))
        assert not await soon(board.tell(0, "a", 0, 1, {"epoch": 1}))
        assert (await soon(board.take(0, 0, 1, "p0")))[0] == "b"
        other.cancel()

    run(story)


def test_nobody_waits_for_groups_that_are_gone():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        asked = await waits(board.next("a"))
        await board.close()
        with pytest.raises(LostProcessError, match="gone"):
            await soon(asked)
        assert not await soon(board.work(0))

    run(story)


def test_a_trial_that_is_taken_down_twice_is_down_and_asking_for_it_is_no_fault_of_its_own():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        await board.leave("a")
        await board.leave("a")
        with pytest.raises(LostProcessError):
            await soon(board.next("a"))

    run(story)


def test_a_worker_of_a_group_that_was_lost_gets_no_more_trials():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        assert await soon(board.take(0, 0, 1, "p")) == ("a", Task("a"))
        idle = await waits(board.take(1, 0, 1, "q"))
        await board.lost(0, "its node has died")
        await board.lost(1, "its node has died")
        await board.submit("b", Task("a"))  # the same trial, handed out again
        assert (
            await soon(board.take(0, 0, 1, "p")) is None
        )  # it ends soon, and does not know it yet
        assert await soon(idle) is None
        assert await soon(board.take(1, 0, 1, "r")) == ("b", Task("a"))

    run(story)


def test_what_a_group_had_on_a_machine_that_is_gone_goes_back_to_the_driver():
    async def story():
        board = TrialQueue()
        await board.submit("a", Task("a"))
        await soon(board.take(0, 0, 1, "p", "one"))
        asked = await waits(board.next("a"))
        await board.there(frozenset({"one", "two"}))
        assert not asked.done()
        await board.there(frozenset({"two"}))
        with pytest.raises(LostProcessError, match="its machine is gone"):
            await soon(asked)
        await board.submit("b", Task("a"))
        assert await soon(board.take(1, 0, 1, "q", "two")) == ("b", Task("a"))
        await board.there(frozenset({"two"}))  # told again, it takes nothing away
        assert await soon(board.take(0, 0, 1, "p", "one")) is None

    run(story)
