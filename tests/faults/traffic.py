"""A provider that sends to several receivers: each notification again until it is answered 200."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence

from tests import samples
from tests.faults.installation import HOST
from tests.faults.server import Client

PAUSE = 0.1  # seconds before a notification is sent again
LATER = 50  # a duplicate comes within so many others
ANSWER = 30.0  # seconds that an answer may take


def make_body(number: int, *, subjects: int) -> bytes:
    """Return a notification of its own: ``number`` tells it apart, and whose message it is."""
    sender = str(5215500000000 + number * 7_919 % subjects)
    return json.dumps({"messages": [samples.text_message(number, **{"from": sender})]}).encode()


def read_number(body: bytes) -> int:
    """Return what `make_body` was given."""
    return int(json.loads(body)["messages"][0]["id"].removeprefix("wamid.IN"))


def draw_order(count: int, *, doubled: float, chance: random.Random) -> list[int]:
    """Return the numbers from 1 to ``count`` as they are sent: a share of them comes again soon."""
    keyed = [(float(number), number) for number in range(1, count + 1)]
    again = chance.sample(range(1, count + 1), int(count * doubled))
    keyed += [(number + chance.random() * LATER, number) for number in again]
    return [number for _, number in sorted(keyed)]


class Traffic:
    """Sends notifications through any of several ports.

    Args:
        ports: Of the receivers.
        subjects: How many conversations there are.
        chance: Decides who gets what.

    Attributes:
        answered: How often each number was answered 200.
        answers: The moment of each 200, in seconds of the monotonic clock.
        refused: How many were answered 503.
        unanswered: How many were sent to somebody who then had gone.
        slowest: Seconds that an answer took at most.
    """

    def __init__(self, ports: Sequence[int], *, subjects: int, chance: random.Random) -> None:
        self.answered: dict[int, int] = {}
        self.answers: list[float] = []
        self.refused = 0
        self.unanswered = 0
        self.slowest = 0.0
        self._ports = ports
        self._subjects = subjects
        self._chance = chance

    @property
    def longest_gap(self) -> float:
        """Seconds in which nothing was answered 200, at most."""
        pairs = zip(self.answers, self.answers[1:], strict=False)
        return max((later - sooner for sooner, later in pairs), default=0.0)

    async def send(
        self, numbers: Iterator[int], *, senders: int, may_go_on: Callable[[], bool] = lambda: True
    ) -> None:
        """Send all ``numbers``, many at once; returns when each was answered 200.

        Args:
            numbers: What is sent.
            senders: How many at once.
            may_go_on: Whether the next one may be begun, or is to wait.
        """

        async def work() -> None:
            with contextlib.ExitStack() as stack:
                lines = _Lines(stack)
                for number in numbers:
                    while not may_go_on():
                        await asyncio.sleep(PAUSE)
                    await self._deliver(number, lines)

        await asyncio.gather(*(work() for _ in range(senders)))

    async def _deliver(self, number: int, lines: "_Lines") -> None:
        body = make_body(number, subjects=self._subjects)
        while (status := await self._post(body, lines)) != 200:
            assert status in (0, 503), f"{number} was answered {status}"
            if status:
                self.refused += 1
            else:
                self.unanswered += 1
            await asyncio.sleep(PAUSE)
        self.answers.append(time.monotonic())
        self.answered[number] = self.answered.get(number, 0) + 1

    async def _post(self, body: bytes, lines: "_Lines") -> int:
        port = self._chance.choice(self._ports)
        began = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER):
                status = await (await lines.open(port)).post(body)
        except (OSError, asyncio.IncompleteReadError):
            lines.drop(port)
            return 0
        self.slowest = max(self.slowest, time.monotonic() - began)
        return status


class _Lines:
    """The connections of one sender, closed with ``stack``."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._open: dict[int, tuple[Client, asyncio.StreamWriter]] = {}

    async def open(self, port: int) -> Client:
        """Return the connection to a port, a new one if there is none."""
        if port not in self._open:
            reader, writer = await asyncio.open_connection(HOST, port)
            self._stack.callback(writer.close)
            self._open[port] = Client(reader, writer), writer
        return self._open[port][0]

    def drop(self, port: int) -> None:
        """Close the connection to a port: nobody knows what would come next from it."""
        if port in self._open:
            self._open.pop(port)[1].close()
