"""The plugin `forward` over real HTTP: each event arrives, in order, whatever the service does."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from router import Event, EventLog, Router
from router.claims import PAUSED
from router.errors import ConfigError, PluginError
from router.events import Replaying
from router.host import Host
from router.plugins import forward
from router.plugins.forward.answers import LONGEST, read_retry_after
from router.plugins.forward.cloudevents import encode
from router.plugins.forward.target import Settings
from router.status import Status
from router.testing.coreapp.hosting import hosting
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.plugins.receivers import SECRET, TAKEN, Service
from tests.records import read_parked
from tests.waiting import until

# One engine is enough: what is tested is what goes over the network.
pytestmark = pytest.mark.engines("sqlite")

EVENTS, SUBJECTS = 1_000, 100
LONG = 120.0  # seconds after which a test gives up: nothing is measured by it
HERE = ("127.0.0.1",)


def make_router(
    log: EventLog,
    url: str,
    *,
    allow: Sequence[str] = HERE,
    timeout: float = 30,
    first: float = 0.01,
    **settings: object,
) -> Router:
    """Return a router that forwards the whole log to ``url``."""
    configured = {"forward": {"url": url, "secret": SECRET, **settings}}
    host = Host.load(plugins=[forward], configured=configured, entry_points=())
    host.require_sound()
    retry = {"first": first, "factor": 1, "jitter": False, "attempts": 10_000}
    options = {"start": "beginning", "retry": retry, "timeout": timeout}
    return Router(
        log.store.engine,
        plugins=host,
        subscriptions={"forward": options},
        http_allow=allow,
        receives=False,
    )


def fill(log: EventLog) -> None:
    """Append events, which take turns among their subjects."""
    append_messages(log, [f"customer {number % SUBJECTS}" for number in range(EVENTS)])


@asynccontextmanager
async def forwarding(log: EventLog, service: Service, **how: Any) -> AsyncIterator[Router]:  # noqa: ANN401
    """Forward to a service while the block lasts."""
    async with hosting(service) as url, make_router(log, f"{url}/events", **how) as router:
        yield router


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
        is_stuck = number == 1 and int(event["sequence"]) % 100 == 0
        await (over.wait() if is_stuck else asyncio.sleep(0.01))
        return TAKEN

    service = Service(answer)
    async with forwarding(log, service, timeout=1):
        await until(lambda: service.count == EVENTS, seconds=LONG)
        over.set()
    service.require_all(EVENTS)
    assert len([one for one in service.asked.values() if one > 1]) >= EVENTS // 100


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
        is_busy = number == 1 and int(event["sequence"]) % 50 == 0
        return Response(status_code=status, headers={"retry-after": "1"}) if is_busy else TAKEN

    service = Service(answer)
    async with forwarding(log, service, first=0):
        await until(lambda: service.count == EVENTS, seconds=LONG)
    service.require_all(EVENTS)
    again = [times for times in service.at.values() if len(times) > 1]
    assert len(again) >= EVENTS // 50
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


@in_loop
async def test_a_service_inside_is_not_reached_unless_it_is_allowed(log: EventLog) -> None:
    """Without the setting nothing is sent, and what to do is on record."""
    append_messages(log, ["ana"])
    service = Service()
    async with hosting(service) as url, make_router(log, url, allow=[]) as router:
        await until(lambda: read_parked(log.store, "forward"))
        found = Status(log.store).subscription("forward")
        assert "add it to `allow` beneath [http]" in (found.last_error or "")
        assert router.host.running()
    assert service.asked == {}


@in_loop
async def test_redirections_are_not_followed(log: EventLog) -> None:
    """An answer that redirects is a failure that says so."""
    append_messages(log, ["ana"])

    async def answer(event: dict[str, Any], number: int) -> Response:
        return Response(status_code=302, headers={"location": "/elsewhere"})

    service = Service(answer)
    async with forwarding(log, service, first=60):
        await until(lambda: read_parked(log.store, "forward"))
        found = Status(log.store).subscription("forward")
    assert "answered 302: redirections are not followed" in (found.last_error or "")
    assert set(service.asked.values()) == {1}


@in_loop
async def test_an_event_becomes_a_cloudevent(log: EventLog) -> None:
    """Type, source, subject, time and data are the event's own; so is what CloudEvents lacks."""
    append(log, make_entry("ana", subtype="text", channel="+52155", source="w a", text="hi"))
    event = log.find("1")
    service = Service()
    async with forwarding(log, service, origin="https://router.example/"):
        await until(lambda: service.count == 1)
    (sent,) = service.events.values()
    assert sent == {
        "specversion": "1.0",
        "id": event.id,
        "source": "https://router.example/webhooks/w%20a",
        "type": "notification-router.message",
        "subject": "+52155:ana",
        "time": "2026-01-01T12:00:00Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000001",
        "subtype": "text",
        "channel": "+52155",
        "data": event.payload,
    }


def test_the_manual_shows_what_is_sent() -> None:
    """The example in the how-to has each attribute, and no other."""
    page = Path(__file__).parents[2] / "docs" / "how-to" / "forward-events.md"
    text = page.read_text("utf-8")
    shown = json.loads(text[text.index('    {"specversion"') : text.index("\n\n- `id` and")])
    entry = make_entry(channel="+5215512345678")
    (draft,) = entry.drafts
    event = Event(
        4711, "id", "message", "text", draft.channel, draft.subject, "wamid.1", None, draft.path,
        entry.notification,
    )  # fmt: skip
    sent = json.loads(encode(event, origin=shown["source"], prefix="notification-router"))
    assert list(shown) == list(sent)
    for name in ("specversion", "type", "datacontenttype", "sequence", "subtype", "channel"):
        assert shown[name] == sent[name]


@in_loop
async def test_only_what_is_wanted_is_sent(log: EventLog) -> None:
    """Filters by type, subtype and channel all have to fit."""
    wanted = make_entry(subtype="text", channel="a")
    others = [
        make_entry(type_="read", subtype="text", channel="a"),
        make_entry(subtype="image", channel="a"),
        make_entry(subtype="text", channel="b"),
    ]
    append(log, *others, wanted)
    service = Service()
    filters = {"types": ["message"], "subtypes": ["text"], "channels": ["a", "c"]}
    async with forwarding(log, service, **filters):
        await until(lambda: Status(log.store).subscription("forward").lag == 0)
    assert [one["sequence"] for one in service.events.values()] == [f"{4:020}"]


@in_loop
async def test_while_a_secret_is_replaced_both_are_valid(log: EventLog) -> None:
    """Each secret has a signature of its own, of which the receiver needs one."""
    append_messages(log, ["ana"])
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    service = Service()
    async with forwarding(log, service, secret=[other, SECRET]):
        await until(lambda: service.count == 1)
    service.require_all(1)
    assert len(service.headers[0]["webhook-signature"].split(" ")) == 2


def test_a_replay_is_told() -> None:
    """The receiver sees which replay sent an event."""
    entry = make_entry()
    (draft,) = entry.drafts
    event = Event(
        1, "id", "message", "text", "", ":ana", "wamid.1", None, draft.path, entry.notification,
        replay=Replaying(7, "repair"),
    )  # fmt: skip
    body = encode(event, origin="", prefix="p")
    assert b'"replay":"7"' in body
    assert b'"externalid":"wamid.1"' in body
    assert b'"source":"/webhooks/wa"' in body


@in_loop
async def test_each_target_has_a_subscription_of_its_own(log: EventLog, tmp_path: Path) -> None:
    """A file makes another target of it, which goes on while the first one is down."""
    text = "from router.plugins.forward import on_event, on_start, settings"
    (tmp_path / "orders.py").write_text(text)
    append_messages(log, ["ana", "ben"])
    service = Service()
    async with hosting(service) as url:
        configured = {
            "forward": {"url": "http://127.0.0.1:9", "secret": SECRET},
            "orders": {"url": url, "secret": SECRET},
        }
        host = Host.load(
            plugins=[forward], directories=[tmp_path], configured=configured, entry_points=()
        )
        host.require_sound()
        options = {"start": "beginning"}
        async with Router(
            log.store.engine,
            plugins=host,
            subscriptions={"forward": options, "orders": options},
            http_allow=HERE,
            receives=False,
        ):
            await until(lambda: service.count == 2)
            status = Status(log.store)
            await until(lambda: status.subscription("forward").retrying == 2)
            assert status.subscription("orders").retrying == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "orders"}, "url 'orders' is no URL"),
        ({"url": "ftp://orders"}, "is no URL"),
        ({"secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
        ({"secret": "no base64!"}, "24 to 64 bytes"),
        ({"secret": "env:ROUTER_TEST_NOT_SET"}, "env:ROUTER_TEST_NOT_SET is empty"),
        ({"secret": []}, "there is no secret"),
    ],
)
@in_loop
async def test_settings_that_cannot_work_are_refused_at_the_start(
    log: EventLog, settings: dict[str, Any], words: str
) -> None:
    """The router does not start with a target that could never be reached or believe us."""
    given = {"url": "http://orders", "secret": SECRET} | settings
    with pytest.raises(PluginError, match=words):
        async with make_router(log, given.pop("url"), **given):
            pass


def test_no_secret_is_shown() -> None:
    """Neither the settings nor an error about a secret repeat it."""
    short = Settings(url="http://a", secret="whsec_c2hvcnQ=")
    with pytest.raises(ConfigError) as refused:
        short.require_sound()
    assert "c2hvcnQ" not in repr(short) + str(refused.value)


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (429, "120", 120.0),
        (503, " 0 ", 0.0),
        (429, "999999999", LONGEST),
        (429, "Thu, 01 Jan 1970 00:17:40 GMT", 60.0),
        (503, "Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (503, "Fri, 01 Jan 2100 00:00:00 GMT", LONGEST),
        (500, "120", None),
        (429, "", None),
        (429, "-1", None),
        (429, "soon", None),
        (429, "1.5", None),
        (429, "²", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    status: int, value: str, expected: float | None
) -> None:
    """A busy service says when to come again; what cannot be read leaves it to the options."""
    assert read_retry_after(status, value, now=1_000.0) == expected
