"""Queue in which trials wait for a group of workers, and a trial's epochs for the driver.

Tune's trials (`PoolTrainable`) submit to it, the workers of long-lived groups take from it. A
group starts no epoch that the driver has not requested, so an early stop wastes none.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

EpochResult = dict[str, Any]
"""Metrics of an epoch, as a task yields them."""


class LostProcessError(Exception):
    """A group lost a worker while it ran a trial; not the trial's failure."""


class LostQueueError(Exception):
    """The process of the queue died: no trial can be run, and none has failed."""


class GroupMemoryError(LostProcessError, MemoryError):
    """A group lost a worker that was out of memory."""


class ResizedGroupError(LostProcessError):
    """An elastic group was restarted with another number of workers; none had failed."""


@dataclass(eq=False)
class QueuedTrial:
    """A trial that was submitted to the queue."""

    name: str
    folder: str
    """Folder of the trial: no two groups write into one."""
    task: Any
    asked: int = 0
    """Number of epochs that the driver has requested."""
    results: deque[EpochResult] = field(default_factory=deque)
    """Results that the driver has not fetched yet."""
    problem: Exception | None = None
    over: bool = False


@dataclass(eq=False)
class GroupState:
    """A group of workers, as the queue knows it."""

    ticket: QueuedTrial | None = None
    given: dict[int, str] = field(default_factory=dict)
    """The process of each rank that has taken the trial."""
    seen: dict[str, str] = field(default_factory=dict)
    """Processes that asked for a trial, and the node of each."""
    gone: set[str] = field(default_factory=set)
    """Those of them that were lost with their group."""

    def has_work(self) -> bool:
        """Return whether it has a trial that has not ended."""
        return self.ticket is not None and not self.ticket.over


class TrialQueue:
    """Trials to run, and their results. Lives in an actor; its methods are coroutines."""

    def __init__(self) -> None:
        self.changed = asyncio.Condition()
        self.waiting: deque[QueuedTrial] = deque()
        self.tickets: dict[str, QueuedTrial] = {}
        self.crews: dict[int, GroupState] = {}
        self.taken = 0
        """How often a worker has taken a trial."""
        self.closed = False

    async def submit(self, name: str, task: Any) -> None:
        """Queue a trial. An earlier one for the same folder is cancelled."""
        async with self.changed:
            for earlier in self.tickets.values():
                if earlier.folder == task.folder:
                    earlier.over = True
            ticket = QueuedTrial(name, task.folder, task)
            self.tickets[name] = ticket
            self.waiting.append(ticket)
            self.changed.notify_all()

    async def next(self, name: str) -> EpochResult:
        """Request a trial's next epoch and wait for its result.

        Raises:
            LostProcessError: Its group lost a worker.
            Exception: The one that training raised.
        """
        async with self.changed:
            ticket = self.tickets.get(name)
            if ticket is None:
                raise LostProcessError("it was taken down while machines went")
            ticket.asked += 1
            self.changed.notify_all()
            await self._until(lambda: ticket.results or ticket.problem)
            if ticket.results:
                return ticket.results.popleft()
            raise ticket.problem or LostProcessError("all groups of workers are gone")

    async def leave(self, name: str) -> None:
        """End a trial after its current epoch: no more will be requested."""
        async with self.changed:
            ticket = self.tickets.pop(
                name, None
            )  # gone already: when machines are lost, Tune may end a trial twice
            if ticket is not None:
                ticket.over = True
            self.changed.notify_all()

    async def work(self, crew: int) -> bool:
        """Wait for a trial and assign it to this group; False once the queue is closed."""
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            await self._until(lambda: mine.has_work() or self._assign(mine))
            return not self.closed

    async def take(
        self, crew: int, rank: int, world: int, process: str, node: str = ""
    ) -> tuple[str, Any] | None:
        """Wait for a trial, as one worker of a group; return its name and task.

        None if there will be none for this process. All workers of a group get the same trials in
        the same order. A rank that calls from another process than before is of a restarted group.
        """
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            mine.seen[process] = node
            if mine.given.get(rank, process) != process:
                mine.gone.update(mine.given.values())
                self._lose(mine, ResizedGroupError("its group of workers was restarted"))
            # A process that is about to end may still call: it would hold its trial for ever.
            await self._until(lambda: process in mine.gone or self._has_for(mine, rank, world))
            if self.closed or process in mine.gone or mine.ticket is None:
                return None
            mine.given[rank] = process
            self.taken += 1
            self.changed.notify_all()
            return mine.ticket.name, mine.ticket.task

    async def tell(self, crew: int, name: str, rank: int, count: int, result: EpochResult) -> bool:
        """Report an epoch, the `count`-th since `take`; return whether to train another.

        All workers of a group get the same answer: they train together or not at all.
        """
        async with self.changed:
            ticket = self._held(crew, name)
            if ticket is None:
                return False
            if rank == 0:
                ticket.results.append(result)
                self.changed.notify_all()
            await self._until(lambda: ticket.asked > count or ticket.over)
            return ticket.asked > count and not self.closed

    async def fail(self, crew: int, name: str, problem: Exception) -> None:
        """Report the exception that a trial raised."""
        async with self.changed:
            ticket = self._held(crew, name)
            if ticket is not None and not ticket.over:
                ticket.problem, ticket.over = problem, True
            self.changed.notify_all()

    async def lost(self, crew: int, cause: str, *, memory: bool = False) -> None:
        """Report that a group lost a worker; its trial goes back to the driver."""
        async with self.changed:
            mine = self.crews.setdefault(crew, GroupState())
            mine.gone.update(mine.seen)
            self._lose(mine, (GroupMemoryError if memory else LostProcessError)(cause))

    async def there(self, nodes: frozenset[str]) -> None:
        """Receive the ids of live nodes; trials of groups on other nodes go back to the driver.

        Ray ends a group whose machine has a preemption notice without an error, and cannot restart
        it before the cluster has resources for it.
        """
        async with self.changed:
            for mine in self.crews.values():
                lost = {p for p, node in mine.seen.items() if node and node not in nodes}
                if not lost <= mine.gone:
                    mine.gone.update(mine.seen)
                    self._lose(mine, LostProcessError("its machine is gone"))

    async def starts(self) -> int:
        """Return how often a worker has taken a trial: it shows that groups get that far."""
        return self.taken

    async def over(self) -> bool:
        """Return whether the queue is closed."""
        return self.closed

    async def close(self) -> None:
        """Close the queue: all workers end."""
        async with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _has_for(self, mine: GroupState, rank: int, world: int) -> bool:
        """Return whether there is a trial for this worker; the next one only when all are done."""
        if mine.ticket is not None and rank not in mine.given:
            return True
        done = mine.ticket is None or (mine.ticket.over and len(mine.given) == world)
        return done and self._assign(mine)

    def _assign(self, mine: GroupState) -> bool:
        """Assign to a group the first queued trial whose folder no other group uses."""
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
            else:  # no worker had started it
                self.waiting.appendleft(mine.ticket)
        mine.ticket, mine.given = None, {}
        self.changed.notify_all()

    async def _until(self, happened: Callable[[], object]) -> None:
        await self.changed.wait_for(lambda: self.closed or happened())
