"""`router serve` as a process of its own, to be watched or killed, and a client that loads it."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
database = "sqlite:///router.db"

[sources.wa]
adapter = "whatsapp"
verification = "none"
"""
COMMAND = "from router.cli import main; main()"
_ADDRESS = re.compile(r"receiving at https?://127\.0\.0\.1:(?P<port>[0-9]+)/webhooks/")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        port: Where it listens, on the loopback.
        process: Itself, or what it was started under.
        said: Where it writes what it has to say.
    """

    port: int
    process: subprocess.Popen[bytes]
    said: Path

    def kill(self) -> None:
        """End it as a power cut would end the machine: without a chance to do anything."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(40)


@contextmanager
def serve(
    folder: Path, *options: str, program: str = COMMAND, under: Sequence[str] = ()
) -> Iterator[Server]:
    """Start ``router serve`` in ``folder``; it is killed with the block.

    Args:
        folder: Where its settings and its database are.
        options: Of the command; without ``--port``, it takes a port that is free.
        program: The Python program that runs the command.
        under: A command to start it under.
    """
    said = folder / "said.txt"
    with said.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [*under, sys.executable, "-c", program, "serve", "--port", "0", *options],
            cwd=folder,
            stderr=output,
            start_new_session=True,  # so that all of it can be killed, and nothing else
        )
    try:
        yield Server(_wait_for_port(process, said, begin), process, said)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], said: Path, begin: int) -> int:
    while True:
        ended = process.poll() is not None
        text = said.read_bytes()[begin:].decode()
        if match := _ADDRESS.search(text):
            return int(match["port"])
        assert not ended, f"the server ended: {text}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


class Client:
    """A connection that sends one notification after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, body: bytes) -> int:
        """Send a notification and return the status that it is answered with.

        Raises:
            OSError: The server has gone, and nobody knows what became of it.
        """
        head = b"POST /webhooks/wa HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        self._writer.write(head + body)
        await self._writer.drain()
        status = int((await self._line()).split()[1])
        length = 0
        while line := (await self._line()).strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        await self._reader.readexactly(length)
        return status

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server has gone")
        return line


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Client]:
    """Connect to a server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def load(
    server: Server, bodies: Iterator[bytes], *, senders: int, answered: Callable[[bytes], None]
) -> list[bytes]:
    """Send ``bodies`` through several connections at once, until they are used up or it has gone.

    Args:
        server: Where to.
        bodies: What; each is sent once.
        senders: How many connections.
        answered: Is told of each body that was answered 200.

    Returns:
        Those that were sent and not answered 200.
    """
    lost: list[bytes] = []

    async def send() -> None:
        body = b""
        try:
            async with connect(server) as client:
                for body in bodies:
                    if await client.post(body) == 200:
                        answered(body)
                    else:
                        lost.append(body)
        except (OSError, asyncio.IncompleteReadError):
            if body:
                lost.append(body)

    await asyncio.gather(*(send() for _ in range(senders)))
    return lost
