"""The deliveries that a worker has under way, and the tasks in which they run."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial

from router.claims import LIVE
from router.delivery import Delivery
from router.intents import Intent
from router.lane import Key, Lane


class Deliveries:
    """Begins, stops and ends deliveries, alone or together. For one event loop.

    Attributes:
        running: Those that have been opened, by the key of the lane.
        held: The keys of the lanes that were claimed and not given back.
    """

    def __init__(self) -> None:
        self.running: dict[Key, Delivery] = {}
        self.held: set[Key] = set()
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    @property
    def runs(self) -> set[int]:
        """The runs that they are of."""
        return {run for _, run, _, _ in self.running}

    def begin(self, lane: Lane, work: Coroutine[None, None, None]) -> None:
        """Run ``work``, which delivers ``lane`` to its end."""
        self.held.add(lane.key)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[lane.key] = task
        task.add_done_callback(partial(self._forget, lane.key))

    def end(self, lane: Lane) -> None:
        """Note that ``lane`` is not delivered any more."""
        self.held.discard(lane.key)
        self.running.pop(lane.key, None)

    def wake(self) -> None:
        """Let all look for new events."""
        for delivery in self.running.values():
            delivery.wake()

    def stop(self, which: Callable[[Key], bool] = lambda _: True) -> None:
        """Let some, or all, begin no call any more."""
        for key, delivery in self.running.items():
            if which(key):
                delivery.stop()

    def obey(self, intent: Intent) -> None:
        """Let those that an operator's ``intent`` is about carry it out."""
        for (name, run, _, _), delivery in self.running.items():
            if (name, run) == (intent.subscription, intent.run):
                delivery.obey(intent)

    def cut(self, lost: Key) -> None:
        """End a delivery and, with a live one, the replays that take turns with it."""
        name, run, first_shard, _ = lost
        for key, delivery in self.running.items():
            is_beside = run == LIVE and (key[0], key[2]) == (name, first_shard)
            if key == lost or is_beside:
                delivery.cut()

    def cut_all(self) -> None:
        """End all at once."""
        for delivery in self.running.values():
            delivery.cut()

    def are_still(self, head: int) -> bool:
        """Whether nothing is to be done of the log up to ``head`` before time passes."""
        is_open = self.held == self.running.keys()
        return is_open and all(one.is_still(head) for one in self.running.values())

    def is_failing(self, name: str) -> bool:
        """Whether the live delivery of a subscription fails; its replays are apart."""
        return any(
            delivery.breaker.is_open
            for (owner, run, _, _), delivery in self.running.items()
            if (owner, run) == (name, LIVE)
        )

    async def wait(self, seconds: float) -> bool:
        """Wait until all have ended; whether they have."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        return not self._tasks

    async def wait_beside(self, lane: Lane) -> None:
        """Wait for the replays in a live lane: its next owner takes no turns with them."""
        if lane.run != LIVE:
            return
        place = (lane.subscription, lane.first_shard)
        tasks = [
            task
            for (name, run, first_shard, _), task in self._tasks.items()
            if run != LIVE and (name, first_shard) == place
        ]
        if tasks:
            await asyncio.wait(tasks)

    async def cancel(self) -> None:
        """End what has not ended by now, and wait for that."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: Key, _task: object) -> None:
        del self._tasks[key]
