"""The plugin `forward`: what it sends, to whom, and which settings it takes."""

import asyncio
import base64
import json
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.responses import Response

from router import Event, EventLog, Router
from router.errors import ConfigError, PluginError
from router.events import Replaying
from router.host import Host
from router.plugins import forward
from router.plugins.forward.answers import LONGEST, read_retry_after
from router.plugins.forward.cloudevents import encode
from router.plugins.forward.target import Settings
from router.secrets import Secret
from router.status import Status
from router.testing.coreapp.hosting import hosting
from tests import samples
from tests.entries import append, append_messages, make_entry
from tests.hosted import hosted, routing
from tests.loops import in_loop
from tests.plugins.forwards import HERE, forwarding, make_router
from tests.plugins.receivers import SECRET, Service
from tests.records import read_parked
from tests.waiting import until

# One engine is enough: what is tested is what goes over the network.
pytestmark = pytest.mark.engines("sqlite")


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


def test_it_is_set_by_router_toml(tmp_path: Path, empty_database: Path) -> None:
    """As the how-to has it: from the receiver to the service, by settings alone."""
    shutil.copy(empty_database, tmp_path / "router.db")
    (tmp_path / "orders.key").write_text(f"{SECRET}\n")
    service = Service()
    with hosted(service) as url:
        file = tmp_path / "router.toml"
        file.write_text(
            f"""
            database = "sqlite:///{tmp_path}/router.db"
            [http]
            allow = ["127.0.0.1"]
            [sources.wa]
            adapter = "whatsapp"
            verification = "none"
            [plugins.forward]
            url = "{url}"
            secret = "file:orders.key"
            """
        )
        body = samples.as_body(samples.cloud_value(messages=[samples.text_message(1)]))
        with routing(file) as address:
            assert httpx2.post(f"{address}/webhooks/wa", content=body).status_code == 200
            asyncio.run(until(lambda: service.count == 1))
    service.require_all(1)
    (event,) = service.events.values()
    assert (event["source"], event["subtype"]) == ("/webhooks/wa", "text")


@in_loop
async def test_each_target_has_a_subscription_of_its_own(log: EventLog, tmp_path: Path) -> None:
    """A file makes another target of it, which goes on while the first one is down."""
    text = "from router.plugins.forward import on_event, on_start, settings, subscription_options"
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
    short = Settings(url="http://a", secret=Secret("whsec_c2hvcnQ="))
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
