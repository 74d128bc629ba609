"""The plugin `forward`, and services that are well, down, slow, ill, busy or gone."""

import asyncio
from typing import Any

import pytest
from starlette.responses import Response

from router import EventLog
from router.claims import PAUSED
from router.status import Status
from router.testing.coreapp.hosting import hosting
from tests.entries import append_messages
from tests.loops import in_loop
from tests.plugins.forwards import forwarding, make_router
from tests.plugins.receivers import TAKEN, Service
from tests.records import read_parked
from tests.sizes import choose
from tests.waiting import until

# One engine is enough: what is tested is what goes over the network.
pytestmark = pytest.mark.engines("sqlite")

EVENTS, SUBJECTS = choose((200, 20), ci=(1_000, 100))
LONG = 300.0  # seconds after which a test gives up: nothing is measured by it


def fill(log: EventLog) -> None:
    """Append events, which take turns among their subjects."""
    append_messages(log, [f"customer {number % SUBJECTS}" for number in range(EVENTS)])


@in_loop
async def test_all_arrives_in_order(log: EventLog) -> None:
    """Each event is taken once by a service that is well, and the connections are used again."""
    fill(log)
    service = Service()
    async with forwarding(log, service):
        await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)
    assert set(service.asked.values()) == {1}


@in_loop
async def test_a_service_that_is_down(log: EventLog) -> None:
    """Nothing is lost while nobody listens; all arrives when somebody does."""
    fill(log)
    service = Service()
    async with hosting(service) as url:
        pass
    async with make_router(log, url):
        await until(lambda: len(read_parked(log.store, "forward")) >= 20, seconds=LONG)
        async with hosting(service, port=int(url.rpartition(":")[2])):
            await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)


@in_loop
async def test_a_slow_service(log: EventLog) -> None:
    """Answers that come late are waited for, and what is over its time is sent again."""
    fill(log)
    over = asyncio.Event()

    async def answer(event: dict[str, Any], number: int) -> Response:
        is_stuck = number == 1 and int(event["sequence"]) % 99 == 0
        await (over.wait() if is_stuck else asyncio.sleep(0.01))
        return TAKEN

    service = Service(answer)
    async with forwarding(log, service, timeout=1):
        await until(lambda: service.count == EVENTS, seconds=LONG)
        over.set()
    service.require_all(EVENTS)
    assert len([one for one in service.asked.values() if one > 1]) >= EVENTS // 99


@in_loop
async def test_a_service_that_fails(log: EventLog) -> None:
    """What is answered 500 is sent again, and what came later for its subject waits for it."""
    fill(log)

    async def answer(event: dict[str, Any], number: int) -> Response:
        is_ill = number <= int(event["sequence"]) % 3
        return Response("no", 500) if is_ill else TAKEN

    service = Service(answer)
    async with forwarding(log, service):
        await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)


@pytest.mark.parametrize("status", [429, 503])
@in_loop
async def test_a_busy_service_is_left_alone_for_as_long_as_it_asks(
    log: EventLog, status: int
) -> None:
    """`Retry-After` is heeded to the second, though the subscription would try again at once."""
    fill(log)

    async def answer(event: dict[str, Any], number: int) -> Response:
        is_busy = number == 1 and int(event["sequence"]) % 49 == 0
        return Response(status_code=status, headers={"retry-after": "1"}) if is_busy else TAKEN

    service = Service(answer)
    async with forwarding(log, service, first=0):
        await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)
    again = [times for times in service.at.values() if len(times) > 1]
    assert len(again) >= EVENTS // 49
    assert all(second - first >= 0.9 for first, second, *_ in again)


@in_loop
async def test_a_service_that_is_gone_pauses_the_subscription(log: EventLog) -> None:
    """After 410 nothing more is sent; when it is resumed, all the rest arrives in order."""
    fill(log)
    is_gone = True

    async def answer(event: dict[str, Any], number: int) -> Response:
        return Response(status_code=410) if is_gone and service.count > EVENTS // 3 else TAKEN

    service = Service(answer)
    status = Status(log.store)
    async with forwarding(log, service) as router:
        await until(lambda: status.subscription("forward").state == PAUSED, seconds=LONG)
        await until(lambda: router.control.is_at_rest("forward"), seconds=LONG)
        found = status.subscription("forward")
        assert "answered 410 Gone" in (found.state_reason or "")
        assert 0 < service.count < EVENTS
        assert found.dead == 0
        is_gone = False
        await asyncio.to_thread(router.control.resume, "forward", actor="ana")
        await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)
