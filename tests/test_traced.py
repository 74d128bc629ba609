"""Tests of `router.traced`: what a collector of spans is given of requests, appends and calls."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Connection, select
from starlette.types import ASGIApp, Receive, Scope, Send

from router import Reject, Retry, Router
from router import conventions as names
from router.context import Context
from router.errors import RouterError, Unreadable, Unverified
from router.events import Draft, Event
from router.hookspecs import hookimpl
from router.log import EventLog
from router.sources import Request
from tests.drafts import make, other
from tests.hosted import Parrot, hosted
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.spans import Collected, attributes_of, context_of, links_of, place_of
from tests.waiting import until

PHONE = "5215512345678"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Telling:
    """What a plugin does that is traced: it goes by what the event says.

    Attributes:
        within: The current span of each call.
        url: What it asks where it is told to ask.
    """

    plugin_name = "crm"

    def __init__(self, url: str = "") -> None:
        self.within: list[trace.SpanContext] = []
        self.url = url

    def handle(self, event: Event, attempt: int) -> str:
        """Do as the event says, and return that."""
        self.within.append(trace.get_current_span().get_span_context())
        word = cast("Mapping[str, str]", event.payload)["do"]
        if word == "come again" and attempt == 1:
            raise Retry(f"not yet, {PHONE}", after=0.001)
        if word == "refuse":
            raise Reject(f"never, {PHONE}")
        if word == "break":
            raise ValueError(f"broken: {PHONE}")
        return word

    @hookimpl
    def subscription_options(self) -> Mapping[str, object]:
        """Give up after two attempts."""
        retry = {"first": "1ms", "attempts": 2, "jitter": False}
        return {"retry": retry, "replay": "allow", "timeout": "5s"}


class Plain(Telling):
    """It has a plain handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context) -> None:
        """Take an event."""
        if self.handle(event, context.attempt) == "ask":
            context.http.get(self.url)


class Waiting(Telling):
    """It has an async handler."""

    @hookimpl
    async def on_event(self, event: Event, context: Any) -> None:  # noqa: ANN401  # an AsyncContext
        """Take an event."""
        if self.handle(event, context.attempt) == "ask":
            await context.http.get(self.url)


class Transactional(Telling):
    """It has a transactional handler."""

    @hookimpl
    def on_event(self, event: Event, context: Context, connection: Connection) -> None:
        """Take an event."""
        word = self.handle(event, context.attempt)
        if word == "ask":
            context.http.get(self.url)
        if word == "end it":
            driver = connection.connection.dbapi_connection
            assert driver is not None
            driver.cursor().execute("ROLLBACK")


KINDS = [Plain, Waiting, Transactional]
each_kind = pytest.mark.parametrize("kind", KINDS)


def split(body: bytes) -> Sequence[Draft]:
    """Find an event in each element of a list; each has a conversation of its own."""
    try:
        items = json.loads(body)
    except ValueError as error:
        raise Unreadable("no JSON") from error
    return [
        Draft(f"$[{at}]", "message", "text", channel=PHONE, conversation=f"{item['do']} {at}")
        for at, item in enumerate(items)
    ]


def verify(request: Request) -> None:
    """Refuse who says that it is a stranger."""
    if "stranger" in request.headers:
        raise Unverified("a stranger")


SOURCE = StubSource(splits=split, verifies=verify)


def body_of(*words: str) -> bytes:
    """Return a notification with one event for each of ``words``."""
    return json.dumps([{"do": word, "from": PHONE} for word in words]).encode()


async def post(app: ASGIApp, body: bytes, path: str = "/webhooks/wa", **headers: str) -> int:
    """Post a notification and return the status of the answer."""
    return (await ask(app, path, body=body, headers=list(headers.items()))).status


def stored(log: EventLog) -> list[str | None]:
    """The trace context of each notification, as it stands in the table."""
    table = log.store.tables.notification.c
    with log.store.reading() as connection:
        return list(connection.scalars(select(table.trace).order_by(table.id)))


@each_kind
@in_loop
async def test_all_that_is_done_with_an_event_is_found(database: str, kind: type[Telling]) -> None:
    """Receive, append and process, and a replay after a restart, which links to its request."""
    before, after = Collected(), Collected()
    plugin, later = kind(), kind()
    async with Router(
        database, sources=[SOURCE], plugins=[plugin], tracing=before.provider
    ) as router:
        assert await post(router.asgi(), body_of("go")) == 200
        await router.catch_up()
        [kept] = stored(router.log)
    async with Router(database, plugins=[later], tracing=after.provider) as router:
        replay = await router.replay("crm", reason=f"for {PHONE}")
        await replay.result()

    receive, append = before.one("receive wa"), before.one("append wa")
    process, again = before.one("process crm"), after.one("process crm")
    request = place_of(context_of(receive))
    assert len(before.all()) == 3
    assert (receive.kind, receive.parent) == (SpanKind.SERVER, None)
    assert (append.kind, place_of(append.parent)) == (SpanKind.PRODUCER, request)
    for span in (process, again):
        assert (span.kind, span.parent) == (SpanKind.CONSUMER, None)
        assert links_of(span) == [request]
    assert len({context_of(span).trace_id for span in (receive, process, again)}) == 3
    assert kept is not None
    assert f"{context_of(receive).trace_id:032x}-{context_of(receive).span_id:016x}" in kept
    assert [place_of(one) for one in plugin.within] == [place_of(context_of(process))]
    assert [place_of(one) for one in later.within] == [place_of(context_of(again))]

    assert attributes_of(receive) == {
        "http.request.method": "POST",
        "http.route": "/webhooks/{source}",
        "http.response.status_code": 200,
        "messaging.destination.name": "wa",
        "router.outcome": "accepted",
    }
    assert attributes_of(append) == {
        "messaging.system": "notification_router",
        "messaging.operation.name": "append",
        "messaging.operation.type": "send",
        "messaging.destination.name": "wa",
        "router.event.position": 1,
        "router.outcome": "appended",
    }
    told = {
        "messaging.system": "notification_router",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "wa",
        "messaging.destination.subscription.name": "crm",
        "router.event.type": "message",
        "router.event.position": 1,
        "router.attempt": 1,
        "router.outcome": "done",
    }
    assert attributes_of(process) == told
    assert attributes_of(again) == told | {"router.replay.id": replay.id}


def outcome_of(span: ReadableSpan) -> tuple[object, ...]:
    """Return what a span of a call says of how it ended."""
    told = attributes_of(span)
    return told[names.POSITION], told[names.ATTEMPT], told[names.OUTCOME], told.get("error.type")


@each_kind
@in_loop
async def test_every_attempt_says_how_it_ended(database: str, kind: type[Telling]) -> None:
    """What failed has an error as its status, what succeeded has none; no span says about whom."""
    found, plugin = Collected(), kind()
    body = body_of("go", "come again", "refuse", "break")
    async with Router(
        database, sources=[SOURCE], plugins=[plugin], tracing=found.provider
    ) as router:
        await post(router.asgi(), body)
        await until(lambda: len(plugin.within) == 6)
        await router.catch_up()

    spans = found.named("process crm")
    assert sorted(map(outcome_of, spans)) == [
        (1, 1, "done", None),
        (2, 1, "retry", "Retry"),
        (2, 2, "done", None),
        (3, 1, "rejected", "Reject"),
        (4, 1, "failed", "ValueError"),
        (4, 2, "failed", "ValueError"),
    ]
    for span in spans:
        is_done = attributes_of(span)[names.OUTCOME] == "done"
        assert span.status.status_code == (StatusCode.UNSET if is_done else StatusCode.ERROR)
    assert attributes_of(found.one("append wa"))[names.BATCH_COUNT] == 4
    [request] = {tuple(links_of(span)) for span in spans}
    assert request == (place_of(context_of(found.one("receive wa"))),)
    assert not any(PHONE in span.to_json() for span in found.all())
    assert not any(span.events for span in found.all())


@in_loop
async def test_who_ends_the_transaction_is_named(database: str) -> None:
    """The error is the handler's, not that of the call which found it out."""
    found = Collected()
    async with Router(
        database, sources=[SOURCE], plugins=[Transactional()], tracing=found.provider
    ) as router:
        await post(router.asgi(), body_of("end it"))
        await router.catch_up()

    first = found.named("process crm")[0]
    assert outcome_of(first)[2] == "failed"
    assert outcome_of(first)[3] not in (None, "Undone")
    assert first.status.status_code == StatusCode.ERROR


class Slow:
    """It takes longer than it may."""

    plugin_name = "crm"

    @hookimpl
    def subscription_options(self) -> Mapping[str, object]:
        """Give little time and one attempt."""
        return {"timeout": "10ms", "retry": {"attempts": 1}}

    @hookimpl
    async def on_event(self, event: Event) -> None:
        """Wait for ever."""
        await asyncio.get_running_loop().create_future()


@pytest.mark.engines("sqlite")
@in_loop
async def test_who_takes_too_long_has_timed_out(database: str) -> None:
    """The span of a call that was cancelled says that its time was over."""
    found = Collected()
    async with Router(
        database, sources=[SOURCE], plugins=[Slow()], tracing=found.provider
    ) as router:
        await post(router.asgi(), body_of("go"))
        await until(lambda: len(found.named("process crm")) == 1)

    assert outcome_of(found.one("process crm")) == (1, 1, "timed_out", "TimeoutError")


@pytest.fixture
def instrumented(monkeypatch: pytest.MonkeyPatch) -> Collected:
    """A collector that is given a span of each request of HTTP clients, as a host's would be."""
    found = Collected()
    tracer = found.provider.get_tracer("host")
    send, send_async = httpx2.Client.send, httpx2.AsyncClient.send

    def traced(client: httpx2.Client, *given: Any, **how: Any) -> httpx2.Response:  # noqa: ANN401
        with tracer.start_as_current_span("GET"):
            return send(client, *given, **how)

    async def traced_async(client: httpx2.AsyncClient, *given: Any, **how: Any) -> httpx2.Response:  # noqa: ANN401
        with tracer.start_as_current_span("GET"):
            return await send_async(client, *given, **how)

    monkeypatch.setattr(httpx2.Client, "send", traced)
    monkeypatch.setattr(httpx2.AsyncClient, "send", traced_async)
    return found


@each_kind
@pytest.mark.engines("sqlite")
def test_what_a_handler_asks_nests_in_its_call(
    database: str, kind: type[Telling], instrumented: Collected
) -> None:
    """In a handler the call's span is current, so those of its requests are its children."""

    @in_loop
    async def run(url: str) -> None:
        async with Router(
            database,
            sources=[SOURCE],
            plugins=[kind(url)],
            http_allow=["127.0.0.1"],
            tracing=instrumented.provider,
        ) as router:
            await post(router.asgi(), body_of("ask"))
            await router.catch_up()

    with hosted(Parrot()) as url:
        run(url)

    process = instrumented.one("process crm")
    assert outcome_of(process)[2] == "done"
    assert place_of(instrumented.one("GET").parent) == place_of(context_of(process))


@pytest.mark.engines("sqlite")
@in_loop
async def test_a_trace_of_the_sender_goes_on(database: str) -> None:
    """What a request brings is the parent, its state is kept, and what is malformed is ignored."""
    found = Collected()
    async with Router(database, sources=[SOURCE], tracing=found.provider) as router:
        app = router.asgi()
        await post(app, body_of("go"), traceparent=PARENT, tracestate="vendor=x")
        await post(app, body_of("go", "go"), traceparent="00-rubbish", tracestate="vendor=x")
        first, second = stored(router.log)

    one, two = found.named("receive wa")
    assert one.parent is not None
    assert f"{one.parent.trace_id:032x}-{one.parent.span_id:016x}" in PARENT
    assert (one.kind, one.parent.is_remote) == (SpanKind.SERVER, True)
    assert first == f"{PARENT[:35]}-{context_of(one).span_id:016x}-01 vendor=x"
    assert two.parent is None
    assert second is not None
    assert " " not in second


@pytest.mark.engines("sqlite")
@in_loop
async def test_within_a_hosts_own_span_there_is_no_second_server(database: str) -> None:
    """Where the host traces its requests, ours is inside its span, whatever the headers say."""
    found = Collected()
    tracer = found.provider.get_tracer("host")
    async with Router(database, sources=[SOURCE], tracing=found.provider) as router:
        inner = router.asgi()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            with tracer.start_as_current_span("POST /x", kind=SpanKind.SERVER):
                await inner(scope, receive, send)

        await post(app, body_of("go"), traceparent=PARENT)

    receive = found.one("receive wa")
    assert receive.kind == SpanKind.INTERNAL
    assert place_of(receive.parent) == place_of(context_of(found.one("POST /x")))


@pytest.mark.engines("sqlite")
@in_loop
async def test_calls_are_not_inside_the_span_that_started_the_router(database: str) -> None:
    """A host that starts the router within a span of its own does not become the parent of all."""
    found = Collected()
    with found.provider.get_tracer("host").start_as_current_span("start"):
        async with Router(
            database, sources=[SOURCE], plugins=[Waiting()], tracing=found.provider
        ) as router:
            await post(router.asgi(), body_of("go"))
            await router.catch_up()

    assert found.one("process crm").parent is None


@pytest.mark.engines("sqlite")
@in_loop
async def test_requests_that_bring_nothing_are_told_apart(database: str) -> None:
    """A refusal has its status; only our fault is an error; what is in a path is not told."""
    found = Collected()
    async with Router(database, sources=[SOURCE], max_body=1_000, tracing=found.provider) as router:
        app = router.asgi()
        await post(app, b"no JSON")
        await post(app, body_of("go"), stranger="yes")
        await post(app, body_of("go"), path="/webhooks/nobody/hush-hush")
        await post(app, body_of(*["go"] * 100))
        await post(app, body_of("go"))
        await post(app, body_of("go"))
        await ask(app, "/webhooks/wa", method="GET", query="hub.challenge=1")
        await router.drain()
        await post(app, body_of("go"))

    requests = [span for span in found.all() if span.name.startswith("receive")]
    told = [
        (span.name, attributes_of(span)[names.STATUS_CODE], attributes_of(span)[names.OUTCOME])
        for span in requests
    ]
    assert told == [
        ("receive wa", 400, "refused"),
        ("receive wa", 401, "refused"),
        ("receive", 404, "refused"),
        ("receive wa", 413, "refused"),
        ("receive wa", 200, "accepted"),
        ("receive wa", 200, "accepted"),
        ("receive wa", 503, "refused"),
    ]
    assert [span.status.status_code == StatusCode.ERROR for span in requests] == [False] * 6 + [
        True
    ]
    outcomes = [attributes_of(span)[names.OUTCOME] for span in found.named("append wa")]
    assert outcomes == ["appended", "known"]
    assert not any("hush-hush" in span.to_json() for span in found.all())


@pytest.mark.engines("sqlite")
@in_loop
async def test_an_append_that_fails_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database takes nothing, the spans of the append and of the request are errors."""
    found = Collected()
    async with Router(database, sources=[SOURCE], tracing=found.provider) as router:

        def refuse(*_given: object) -> None:
            raise ValueError(f"no room for {PHONE}")

        monkeypatch.setattr(router.log, "append", refuse)
        status = await post(router.asgi(), body_of("go"))

    appends = found.named("append wa")
    assert status == 503
    assert {attributes_of(span)["error.type"] for span in appends} == {"StoreError"}
    assert {span.status.status_code for span in appends} == {StatusCode.ERROR}
    assert found.one("receive wa").status.status_code == StatusCode.ERROR
    assert not any(PHONE in span.to_json() for span in found.all())


@in_loop
async def test_where_nobody_traces_nothing_is_stored(database: str) -> None:
    """Whatever the sender's headers say."""
    async with Router(database, sources=[SOURCE], plugins=[Plain()]) as router:
        await post(router.asgi(), body_of("go"), traceparent=PARENT)
        await router.catch_up()
        assert stored(router.log) == [None]


def test_traced_and_untraced_go_into_the_log_together(log: EventLog) -> None:
    """In one batch some have a context and others none; each comes back as it was.

    What an append returns says it, too: a handler in the same process is given that.
    """
    entries = [make(b"1", other()), make(b"2", other()), make(b"3", other())]
    entries[1] = make(b"2", other(), trace=PARENT)
    appended = log.append(entries)
    log.append([make(b"4", other())])

    assert [one.events[0].notification.trace for one in appended] == [None, PARENT, None]
    assert [event.notification.trace for event in log.read()] == [None, PARENT, None, None]


ALONE = """
import asyncio, sys
from router import Router

async def main():
    async with Router(sys.argv[1]) as router:
        await router.catch_up()
    print([name for name in sys.modules if name.startswith("opentelemetry")])

asyncio.run(main())
"""


@pytest.mark.engines("sqlite")
def test_where_nobody_traces_nothing_is_imported(database: str) -> None:
    """A router that runs without tracing knows nothing of OpenTelemetry."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, database], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.engines("sqlite")
def test_without_the_extra_it_is_named(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the API is missing, a router that is to trace is not made, and says why."""
    monkeypatch.delitem(sys.modules, "router.opentelemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(RouterError, match=r"pip install 'notification-router\[tracing\]'"):
        Router(database, tracing=True)


@pytest.mark.engines("sqlite")
@in_loop
async def test_the_processs_own_provider_is_used_and_left_as_it_is(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tracing=True` asks for the global provider; a given one never becomes that."""
    process, given = Collected(), Collected()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: process.provider)
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: pytest.fail("it was set"))
    for tracing in (True, given.provider):
        async with Router(database, sources=[SOURCE], tracing=tracing) as router:
            await post(router.asgi(), body_of("go"))

    assert len(process.named("receive wa")) == len(given.named("receive wa")) == 1


def test_what_a_host_appends_belongs_to_its_trace(database: str) -> None:
    """The notification keeps the span that was current where it was appended, or none."""
    found = Collected()
    router = Router(database, tracing=found.provider)
    router.append("shop", b"1", events=[other()])
    with found.provider.get_tracer("shop").start_as_current_span("order") as span:
        router.append("shop", b"2", events=[other()])
    context = span.get_span_context()
    parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    notification = router.log.store.tables.notification.c
    with router.log.store.reading() as connection:
        kept = connection.scalars(select(notification.trace).order_by(notification.id)).all()
    assert kept == [None, parent]
    router.log.store.close()
