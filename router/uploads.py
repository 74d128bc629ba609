"""Uploads: large bodies share what room there is, since each takes many times its size for a while.

A body of 4 MiB takes some 20 MiB until its events are in the log. Nearly all are of a few hundred
bytes: those need no room, and wait for nobody.
"""

import asyncio
from collections import deque

from starlette.types import Message, Receive

from router.errors import Unavailable
from router.problems import TooSlow

LARGE = 64 * 1024  # bytes of a body that needs room
ROOM = 8 * 1024 * 1024  # bytes of large bodies at a time
PATIENCE = 8.0  # seconds that one waits for room
SLOWEST = 20.0  # seconds in which it must have come in then, lest a slow sender keep others out


class Uploads:
    """The room for large bodies, taken in the order in which they came. For one event loop.

    Args:
        room: Bytes.
        patience: Seconds that a body waits.
        slowest: Seconds in which it must have come in then.
    """

    def __init__(
        self, *, room: int = ROOM, patience: float = PATIENCE, slowest: float = SLOWEST
    ) -> None:
        self._room = self._free = room
        self._patience = patience
        self.slowest = slowest
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()

    def begin(self) -> "Upload":
        """Return what is to be told of one body."""
        return Upload(self)

    async def take(self, size: int) -> int:
        """Wait for room for ``size`` bytes, and return how much is to be given back.

        Raises:
            Unavailable: There is none in time.
        """
        size = min(size, self._room)  # what is larger has all of it
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((size, future))
        self._serve()
        try:
            async with asyncio.timeout(self._patience):
                await future
        except TimeoutError as error:
            self._leave(size, future)
            raise Unavailable("too many large bodies come in at the same time") from error
        except asyncio.CancelledError:
            self._leave(size, future)
            raise
        return size

    def give_back(self, size: int) -> None:
        """Let others have it."""
        self._free += size
        self._serve()

    def _leave(self, size: int, future: asyncio.Future[None]) -> None:
        if (size, future) in self._line:
            self._line.remove((size, future))
            self._serve()
        else:  # it was served in the moment in which it gave up
            self.give_back(size)

    def _serve(self) -> None:
        while self._line and self._line[0][0] <= self._free:
            size, future = self._line.popleft()
            self._free -= size
            if not future.done():
                future.set_result(None)


class Upload:
    """One body that comes in.

    Attributes:
        has_room: Whether it is known to be large, and others may have to wait for its end.
    """

    __slots__ = ("_deadline", "_size", "_uploads", "has_room")

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._size = 0
        self._deadline = 0.0
        self.has_room = False

    async def take_room(self, size: int) -> None:
        """Wait for room for a body of so many bytes at most.

        Raises:
            Unavailable: There is none in time.
        """
        self._size = await self._uploads.take(size)
        self.has_room = True
        self._deadline = asyncio.get_running_loop().time() + self._uploads.slowest

    async def receive(self, receive: Receive) -> Message:
        """Return the next part of a body that has room.

        Raises:
            TooSlow: The sender has taken too long.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                return await receive()
        except TimeoutError as error:
            slowest = self._uploads.slowest
            raise TooSlow(f"the body did not come in within {slowest:g} s") from error

    def end(self) -> None:
        """Give its room to others: what was to be done with it is done."""
        if self.has_room:
            self.has_room = False
            self._uploads.give_back(self._size)
