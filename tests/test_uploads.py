"""Tests of `router.uploads`: few large bodies come in at a time, and none for ever."""

import asyncio
import json

import pytest
from starlette.types import Message

from router.errors import Unavailable, Unverified
from router.problems import TooSlow, make_problem
from router.sources import Request
from router.uploads import LARGE, PLACES, Uploads
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.receiving import running

LONG = 600.0  # seconds, more than any test takes


@in_loop
async def test_a_place_is_waited_for() -> None:
    """Who comes when all are taken goes on when one is given back."""
    uploads = Uploads(places=1, patience=LONG)
    first, second = uploads.begin(), uploads.begin()
    await first.take_place()
    waiting = asyncio.create_task(second.take_place())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    assert not second.has_place
    first.end()
    await waiting
    assert second.has_place


@in_loop
async def test_nobody_waits_for_ever() -> None:
    """The provider is told to come again; what it brought is not kept waiting any longer."""
    uploads = Uploads(places=1, patience=0.01)
    await uploads.begin().take_place()
    late = uploads.begin()
    with pytest.raises(Unavailable, match="too many large bodies"):
        await late.take_place()
    late.end()  # it had none, and gives none back
    with pytest.raises(Unavailable):
        await uploads.begin().take_place()


@in_loop
async def test_a_slow_sender_loses_its_place() -> None:
    """It is answered 408; nobody is kept out by one who sends nothing."""
    uploads = Uploads(places=1, slowest=0.01)
    upload = uploads.begin()
    await upload.take_place()

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TooSlow, match=r"within 0\.01 s") as slow:
        await upload.receive(never)
    assert make_problem(slow.value).status_code == 408
    upload.end()
    upload.end()  # only once
    await uploads.begin().take_place()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await uploads.begin().take_place()


@pytest.mark.engines("sqlite")
@in_loop
async def test_places_are_given_back(database: str) -> None:
    """After an answer of any kind: more large bodies come than there are places."""

    def verify(request: Request) -> None:
        if request.body.startswith(b"["):
            raise Unverified("it proves nothing")

    sound = json.dumps({"text": "x" * (LARGE + 1)}).encode()
    async with running(database, StubSource(verifies=verify)) as router:
        for body, status in [(sound, 200), (b"[" + sound, 401)] * (PLACES + 1):
            async with asyncio.timeout(LONG):
                assert (await ask(router.asgi(), "/webhooks/wa", body=body)).status == status
