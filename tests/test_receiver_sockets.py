"""Tests of `router.receiver` over real sockets: bodies are counted while they come."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message

from router import Router
from router.log import EventLog
from router.receiver import Receiver
from router.serving import serving
from router.writer import Writer
from tests.loops import in_loop
from tests.posting import StubSource
from tests.receiving import LIMIT, running, stored

# One engine is enough: what is tested is HTTP.
pytestmark = pytest.mark.engines("sqlite")


async def exchange(address: str, *parts: bytes) -> bytes:
    """Send raw bytes and return all that comes back until the server closes."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def chunked(body: bytes) -> Iterator[bytes]:
    """Yield a body in chunks, without a word on how long it is."""
    for at in range(0, len(body), 65_536):
        part = body[at : at + 65_536]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


HEAD = b"POST /webhooks/wa HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (3 * LIMIT, 413)])
@in_loop
async def test_a_body_is_counted_while_it_comes(
    database: str, *, size: int, status: int, is_chunked: bool
) -> None:
    """With or without Content-Length: the limit is taken, and a byte more hears 413."""
    body = b" " * (size - 2) + b"{}"
    async with (
        running(database) as outer,
        serving(
            Router(outer.log.store.engine, sources=[StubSource()], delivers=False),
            host="127.0.0.1",
            port=0,
        ) as served,
    ):
        if is_chunked:
            parts = [HEAD + b"transfer-encoding: chunked\r\n\r\n", *chunked(body)]
        else:
            parts = [HEAD + b"content-length: %d\r\n\r\n" % size, body]
        answer = await exchange(served.address, *parts)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert stored(outer) == (status == 200)


@in_loop
async def test_a_body_without_end_is_cut_off(database: str) -> None:
    """A sender that never stops is not read for ever."""
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b" " * 1000, "more_body": True}

    receiver = Receiver({"wa": StubSource()}, max_body=10_000, check=lambda: None, clock=lambda: 0)
    receiver.open(Writer(EventLog(database)))
    answers: list[Message] = []

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/wa",
        "headers": [],
        "query_string": b"",
    }
    await receiver(scope, receive, send)
    assert answers[0]["status"] == 413
    assert (b"connection", b"close") in answers[0]["headers"]
    assert sent == 41
