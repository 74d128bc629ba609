"""Uploads: of large bodies only a few are taken in at a time, since each costs many times its size.

A body of 4 MiB takes some 20 MiB until its events are in the log. Nearly all are of a few hundred
bytes: those need no place, and wait for nobody.
"""

import asyncio

from starlette.types import Message, Receive

from router.errors import Unavailable
from router.problems import TooSlow

LARGE = 256 * 1024  # bytes of a body that needs a place
PLACES = 3
PATIENCE = 8.0  # seconds that it waits for one
SLOWEST = 60.0  # seconds in which it must have come in then, lest a slow sender keep others out


class Uploads:
    """The places for large bodies. For one event loop.

    Args:
        places: How many there are.
        patience: Seconds that a body waits for one.
        slowest: Seconds in which it must have come in then.
    """

    def __init__(
        self, *, places: int = PLACES, patience: float = PATIENCE, slowest: float = SLOWEST
    ) -> None:
        self._places = asyncio.Semaphore(places)
        self._patience = patience
        self._slowest = slowest

    def begin(self) -> "Upload":
        """Return what is to be told of one body."""
        return Upload(self._places, patience=self._patience, slowest=self._slowest)


class Upload:
    """One body that comes in.

    Attributes:
        has_place: Whether it is known to be large, and others may have to wait for its end.
    """

    __slots__ = ("_deadline", "_patience", "_places", "_slowest", "has_place")

    def __init__(self, places: asyncio.Semaphore, *, patience: float, slowest: float) -> None:
        self._places = places
        self._patience = patience
        self._slowest = slowest
        self._deadline = 0.0
        self.has_place = False

    async def take_place(self) -> None:
        """Wait for a place.

        Raises:
            Unavailable: None becomes free in time.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError as error:
            raise Unavailable("too many large bodies come in at the same time") from error
        self.has_place = True
        self._deadline = asyncio.get_running_loop().time() + self._slowest

    async def receive(self, receive: Receive) -> Message:
        """Return the next part of a body that has a place.

        Raises:
            TooSlow: The sender has taken too long.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                return await receive()
        except TimeoutError as error:
            raise TooSlow(f"the body did not come in within {self._slowest:g} s") from error

    def end(self) -> None:
        """Give its place to another: what was to be done with it is done."""
        if self.has_place:
            self.has_place = False
            self._places.release()
