"""An open loop: notifications are sent when they are due, whether or not earlier ones are answered.

As a program it is ``python -m benchmarks.delivery.load PORT RATE SECONDS FIRST``. A latency counts
from when a notification was due, so that a server which stalls is not spared the ones that would
have come meanwhile.
"""

import asyncio
import gc
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from itertools import islice

import msgspec

from benchmarks.notifications import SOURCE, draw_recipients, write_status

CONNECTIONS = 256  # enough that a request waits for the server, never for a connection
SUBJECTS = 5_000
GRACE = 30.0  # seconds that the last answers may take
_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


class Load(msgspec.Struct, frozen=True):
    """What became of a load.

    Attributes:
        latencies: Milliseconds from due to answered 200, in no order.
        late: Milliseconds by which the sender itself was late, one for each notification.
        refused: How many were answered otherwise, or not at all.
    """

    latencies: Sequence[float]
    late: Sequence[float]
    refused: int


class Sending:
    """A load that a process of its own sends.

    Args:
        port: Where to, on the loopback.
        rate: Notifications a second.
        seconds: For how long.
        first: The number of the first status; each is sent once only.
    """

    def __init__(self, port: int, *, rate: int, seconds: int, first: int) -> None:
        numbers = [str(number) for number in (port, rate, seconds, first)]
        command = [sys.executable, "-m", "benchmarks.delivery.load", *numbers]
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `finish`
        self._process = subprocess.Popen(command, stdout=self._output)

    @property
    def is_over(self) -> bool:
        """Whether all was answered, or the sender has ended otherwise."""
        return self._process.poll() is not None

    def finish(self) -> Load:
        """Wait until it is over, and return what became of it."""
        with self._output:
            if self._process.wait():
                sys.exit("the load broke off, and the run is void")
            self._output.seek(0)
            return msgspec.json.decode(self._output.read(), type=Load)


class _Sender(asyncio.Protocol):
    """A connection that sends one request at a time and tells when it is answered."""

    def __init__(self, idle: "deque[_Sender]", load: "_Loop") -> None:
        self._idle = idle
        self._load = load
        self._due = 0.0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # for the type alone
        self._transport = transport
        self._idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        """Send a request."""
        assert self._transport is not None  # noqa: S101  # made before it is idle
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take (a part of) the answer."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._buffer = b""
        self._load.note(self._due, is_taken=head.startswith(b"HTTP/1.1 200"))
        self._idle.append(self)
        self._load.proceed()


class _Loop:
    """The requests that are due, and the connections that are idle."""

    def __init__(self, requests: Sequence[bytes], *, rate: int) -> None:
        self._requests = requests
        self._rate = rate
        self._idle: deque[_Sender] = deque()
        self._due: deque[tuple[bytes, float]] = deque()
        self._loop = asyncio.get_running_loop()
        self._latencies: list[float] = []
        self._late: list[float] = []
        self._refused = 0
        self._is_over = asyncio.Event()

    async def run(self, port: int) -> Load:
        for _ in range(min(CONNECTIONS, self._rate)):  # idle for seconds, one would be closed
            await self._loop.create_connection(lambda: _Sender(self._idle, self), "127.0.0.1", port)
        began = self._loop.time() + 0.5
        for number, request in enumerate(self._requests):
            due = began + number / self._rate
            if (pause := due - self._loop.time()) > 0:
                await asyncio.sleep(pause)
            self._late.append((self._loop.time() - due) * 1000)
            self._due.append((request, due))
            self.proceed()
        async with asyncio.timeout(GRACE):
            await self._is_over.wait()
        return Load(self._latencies, self._late, self._refused)

    def proceed(self) -> None:
        while self._due and self._idle:
            self._idle.popleft().send(*self._due.popleft())

    def note(self, due: float, *, is_taken: bool) -> None:
        if is_taken:
            self._latencies.append((self._loop.time() - due) * 1000)
        else:
            self._refused += 1
        if len(self._latencies) + self._refused == len(self._requests):
            self._is_over.set()


def _make_request(number: int, recipient: int) -> bytes:
    body = write_status(number, recipient)
    headers = {"host": "x", "content-type": "application/json", "content-length": str(len(body))}
    headers |= SOURCE.sign(body).headers
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    return f"POST /webhooks/wa HTTP/1.1\r\n{lines}\r\n".encode() + body


async def _run(port: int, rate: int, seconds: int, first: int) -> Load:
    recipients = islice(draw_recipients(SUBJECTS), rate * seconds)
    requests = [_make_request(*one) for one in enumerate(recipients, first)]
    gc.disable()  # a pause of the sender would count as the server's
    return await _Loop(requests, rate=rate).run(port)


if __name__ == "__main__":
    found = asyncio.run(_run(*(int(word) for word in sys.argv[1:])))
    sys.stdout.buffer.write(msgspec.json.encode(found))
