"""What is seen inside a router: when each 200 was handed over, and how long its handler took."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from starlette.types import Message, Receive, Scope, Send

from benchmarks.delivery import observed
from benchmarks.delivery.sightings import Seen, Sightings


def answer(status: int, *, key: str) -> None:
    """Let an application answer a request with that id."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    async def run() -> None:
        scope = {"type": "http", "headers": [(b"x-id", key.encode())]}
        await observed.observe(application)(scope, receive, send)

    asyncio.run(run())


def finish(sightings: Sightings, folder: Path) -> Seen:
    """Return what was written down."""
    sightings.finish(folder / "seen.json")
    return msgspec.json.decode((folder / "seen.json").read_bytes(), type=Seen)


def test_a_wait_goes_from_the_200_to_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that was sooner than the 200 has a wait below 0; a refusal has none."""
    sightings = Sightings()
    monkeypatch.setattr(observed, "SIGHTINGS", sightings)
    sightings.expect("one")
    answer(200, key="a")
    sightings.start("one", "a")
    sightings.start("one", "b")
    answer(200, key="b")
    answer(503, key="c")
    sightings.start("one", "c")
    waits = [wait for _moment, wait in finish(sightings, tmp_path).waits]
    assert len(waits) == 2
    assert waits[0] > 0 > waits[1]


def test_the_waits_are_those_of_the_first_subscription(tmp_path: Path) -> None:
    """The others are counted only."""
    sightings = Sightings()
    sightings.expect("one")
    sightings.expect("two")
    sightings.answer("a")
    sightings.start("two", "a")
    assert finish(sightings, tmp_path).waits == []
