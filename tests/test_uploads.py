"""Tests of `router.uploads`: large bodies share what room there is, and none has it for ever."""

import asyncio
import json

import pytest
from starlette.types import Message

from router.assembly import MAX_BODY
from router.errors import Unavailable, Unverified
from router.problems import TooSlow, make_problem
from router.sources import Request
from router.uploads import LARGE, ROOM, Uploads
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.receiving import running

LONG = 600.0  # seconds, more than any test takes


@in_loop
async def test_room_is_waited_for_in_order() -> None:
    """Who comes when all is taken goes on when enough is given back; nobody passes another."""
    uploads = Uploads(room=10, patience=LONG)
    first, large, small = (uploads.begin() for _ in range(3))
    await first.take_room(8)
    waiting = [asyncio.create_task(large.take_room(9)), asyncio.create_task(small.take_room(1))]
    await asyncio.sleep(0.01)
    assert [one.has_room for one in (large, small)] == [False, False]
    first.end()
    await asyncio.gather(*waiting)
    assert [one.has_room for one in (large, small)] == [True, True]


@in_loop
async def test_what_is_larger_than_the_room_has_it_alone() -> None:
    """It is not kept waiting for ever."""
    uploads = Uploads(room=10, patience=LONG)
    huge, small = uploads.begin(), uploads.begin()
    await huge.take_room(99)
    waiting = asyncio.create_task(small.take_room(1))
    await asyncio.sleep(0.01)
    assert not small.has_room
    huge.end()
    await waiting


@in_loop
async def test_nobody_waits_for_ever() -> None:
    """The provider is told to come again; those behind it have what it does not need."""
    uploads = Uploads(room=10, patience=0.05)
    first, late, behind = (uploads.begin() for _ in range(3))
    await first.take_room(6)
    waiting = asyncio.create_task(late.take_room(6))
    await asyncio.sleep(0.01)
    next_in_line = asyncio.create_task(behind.take_room(4))
    with pytest.raises(Unavailable, match="too many large bodies"):
        await waiting
    late.end()  # it had none, and gives none back
    await next_in_line
    with pytest.raises(Unavailable):
        await uploads.begin().take_room(1)


@in_loop
async def test_a_client_that_goes_away_leaves_the_line() -> None:
    """Whether it still waits or has just been served."""
    uploads = Uploads(room=10, patience=LONG)
    first, second = uploads.begin(), uploads.begin()
    await first.take_room(10)
    for does_end in (False, True):
        waiting = asyncio.create_task(second.take_room(10))
        await asyncio.sleep(0)
        if does_end:
            first.end()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(LONG):
        await uploads.begin().take_room(10)


@in_loop
async def test_a_slow_sender_loses_its_room() -> None:
    """It is answered 408; nobody is kept out by one who sends nothing."""
    uploads = Uploads(room=10, patience=0.01, slowest=0.01)
    upload = uploads.begin()
    await upload.take_room(10)

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TooSlow, match=r"within 0\.01 s") as slow:
        await upload.receive(never)
    assert make_problem(slow.value).status_code == 408
    upload.end()
    upload.end()  # only once
    await uploads.begin().take_room(10)
    with pytest.raises(Unavailable):
        await uploads.begin().take_room(1)


@pytest.mark.engines("sqlite")
@in_loop
async def test_room_is_given_back(database: str) -> None:
    """After an answer of any kind: more large bodies come than there is room for."""

    def verify(request: Request) -> None:
        if request.body.startswith(b"["):
            raise Unverified("it proves nothing")

    sound = json.dumps({"text": "x" * LARGE}).encode()
    async with running(database, StubSource(verifies=verify)) as router:
        for body, status in [(sound, 200), (b"[" + sound, 401)] * (ROOM // MAX_BODY + 1):
            async with asyncio.timeout(LONG):
                assert (await ask(router.asgi(), "/webhooks/wa", body=body)).status == status
