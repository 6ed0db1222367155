"""Where trials wait for a group of workers, and a trial's epochs for the driver.

On one side stand Tune's trials (`PooledTrial`), on the other the workers of long-lived groups. A
group begins no epoch that the driver has not asked for, so that an early stop costs none.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EpochResult = dict[str, Any]
"""What an epoch came to."""


class LostProcessError(Exception):
    """A group lost a worker while it ran a trial: no fault of the trial's."""


class ResizedGroupError(LostProcessError):
    """An elastic group was restarted with another number of workers; none had failed."""


@dataclass(eq=False)
class QueuedTrial:
    """A trial on the board."""

    name: str
    folder: str
    """Of the trial: no two groups write into one."""
    task: Any
    asked: int = 0
    """Epochs that the driver has asked for."""
    told: deque[EpochResult] = field(default_factory=deque)
    """Epochs that the driver has not fetched."""
    problem: Exception | None = None
    over: bool = False


@dataclass(eq=False)
class GroupState:
    """A group of workers, as the board knows it."""

    ticket: QueuedTrial | None = None
    given: dict[int, str] = field(default_factory=dict)
    """Which process of each rank has the ticket."""
    seen: dict[str, str] = field(default_factory=dict)
    """Processes that came for a trial, and the node of each."""
    gone: set[str] = field(default_factory=set)
    """Those of them that were lost with their group."""

    def has_work(self) -> bool:
        """Is there a trial that has not ended?"""
        return self.ticket is not None and not self.ticket.over


class TrialQueue:
    """What is to be run and what came of it. Lives in an actor; every call is one of asyncio's."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.waiting: deque[QueuedTrial] = deque()
        self.tickets: dict[str, QueuedTrial] = {}
        self.crews: dict[int, GroupState] = {}
        self.taken = 0
        """How often a worker has come for a trial and got one."""
        self.closed = False

    async def submit(self, name: str, task: Any) -> None:
        """Put a trial up. One that is up for the same folder is called off."""
        async with self.changed:
            for earlier in self.tickets.values():
                if earlier.folder == task.folder:
                    earlier.over = True
            ticket = QueuedTrial(name, task.folder, task)
            self.tickets[name] = ticket
            self.waiting.append(ticket)
            self.changed.notify_all()

    async def next(self, name: str) -> EpochResult:
        """Ask for a trial's next epoch and wait for it.

        Raises:
            LostProcessError: Its group lost a worker.
            Exception: What the training raised.
        """
        async with self.changed:
            ticket = self.tickets.get(name)
            if ticket is None:
                raise LostProcessError("it was taken down while machines went")
            ticket.asked += 1
            self.changed.notify_all()
            await self._until(lambda: ticket.told or ticket.problem)
            if ticket.told:
                return ticket.told.popleft()
            raise ticket.problem or LostProcessError("all groups of workers are gone")

    async def leave(self, name: str) -> None:
        """Let a trial end where it stands: nobody asks for more of it."""
        async with self.changed:
            ticket = self.tickets.pop(
                name, None
            )  # gone already: when machines go, Tune may ask twice
            if ticket is not None:
                ticket.over = True
            self.changed.notify_all()

    async def work(self, crew: int) -> bool:
        """Wait until there is a trial, and keep it for this group; False if there will be none."""
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            await self._until(lambda: mine.has_work() or self._assign(mine))
            return not self.closed

    async def take(
        self, crew: int, rank: int, world: int, process: str, node: str = ""
    ) -> tuple[str, Any] | None:
        """Wait for a trial, as one worker of a group; return its name and task, None if it is over.

        Each worker is given the same trials in the same order. A worker that comes in another
        process than it did belongs to a group that was begun anew.
        """
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            mine.seen[process] = node
            if mine.given.get(rank, process) != process:
                mine.gone.update(mine.given.values())
                self._lose(mine, ResizedGroupError("its group of workers was restarted"))
            # One that is about to end may still ask: what it took would be held for ever.
            await self._until(lambda: process in mine.gone or self._has_for(mine, rank, world))
            if self.closed or process in mine.gone or mine.ticket is None:
                return None
            mine.given[rank] = process
            self.taken += 1
            self.changed.notify_all()
            return mine.ticket.name, mine.ticket.task

    async def tell(self, crew: int, name: str, rank: int, count: int, told: EpochResult) -> bool:
        """Hand an epoch in, the `count`-th of this sitting; return whether to go on.

        All workers of a group get the same answer: they train together or not at all.
        """
        async with self.changed:
            ticket = self._held(crew, name)
            if ticket is None:
                return False
            if rank == 0:
                ticket.told.append(told)
                self.changed.notify_all()
            await self._until(lambda: ticket.asked > count or ticket.over)
            return ticket.asked > count and not self.closed

    async def fail(self, crew: int, name: str, problem: Exception) -> None:
        """Hand in what a trial raised."""
        async with self.changed:
            ticket = self._held(crew, name)
            if ticket is not None and not ticket.over:
                ticket.problem, ticket.over = problem, True
            self.changed.notify_all()

    async def lost(self, crew: int, cause: str) -> None:
        """Note that a group lost a worker; its trial goes back to the driver."""
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            mine.gone.update(mine.seen)
            self._lose(mine, LostProcessError(cause))

    async def there(self, nodes: frozenset[str]) -> None:
        """Hear which nodes there are; what groups on others had goes back to the driver.

        A group that is warned before its machine goes is ended without a word, and cannot be begun
        anew before there is room for it.
        """
        async with self.changed:
            for mine in self.crews.values():
                lost = {p for p, node in mine.seen.items() if node and node not in nodes}
                if not lost <= mine.gone:
                    mine.gone.update(mine.seen)
                    self._lose(mine, LostProcessError("its machine is gone"))

    async def begun(self) -> int:
        """Return how often a worker has got a trial: whether groups come that far."""
        return self.taken

    async def over(self) -> bool:
        """Return whether the workers were sent home."""
        return self.closed

    async def close(self) -> None:
        """Send all workers home."""
        async with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _has_for(self, mine: GroupState, rank: int, world: int) -> bool:
        """Is there a trial that this worker was not given? A group goes on when all are done."""
        if mine.ticket is not None and rank not in mine.given:
            return True
        done = mine.ticket is None or (mine.ticket.over and len(mine.given) == world)
        return done and self._assign(mine)

    def _assign(self, mine: GroupState) -> bool:
        """Give a group the first trial in line whose folder no other group is in."""
        busy = {c.ticket.folder for c in self.crews.values() if c.ticket and c is not mine}
        self.waiting = deque(ticket for ticket in self.waiting if not ticket.over)
        mine.ticket = next((t for t in self.waiting if t.folder not in busy), None)
        mine.given = {}
        if mine.ticket is not None:
            self.waiting.remove(mine.ticket)
        return mine.ticket is not None

    def _held(self, crew: int, name: str) -> QueuedTrial | None:
        ticket = self.crews[crew].ticket
        return ticket if ticket is not None and ticket.name == name else None

    def _lose(self, mine: GroupState, problem: LostProcessError) -> None:
        if mine.ticket is not None and not mine.ticket.over:
            if mine.given:
                mine.ticket.problem, mine.ticket.over = problem, True
            else:  # nobody had begun with it
                self.waiting.appendleft(mine.ticket)
        mine.ticket, mine.given = None, {}
        self.changed.notify_all()

    async def _until(self, happened: Callable[[], object]) -> None:
        await self.changed.wait_for(lambda: self.closed or happened())
