"""Tests of `router.traced`: what a collector of spans is given of requests and appends, or not."""

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import select
from starlette.types import Receive, Scope, Send

from router import Router
from router import conventions as names
from router.errors import RouterError
from router.log import EventLog
from tests.drafts import make, other
from tests.loops import in_loop
from tests.posting import ask
from tests.spans import Collected, attributes_of, context_of, place_of
from tests.telling import PARENT, PHONE, SOURCE, Plain, Waiting, body_of, post, stored


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
    assert outcomes == ["refused", "appended", "known"]
    assert not any("hush-hush" in span.to_json() for span in found.all())


@pytest.mark.engines("sqlite")
@in_loop
async def test_an_append_that_fails_says_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database takes nothing, the spans of the append and of the request are errors."""
    found = Collected()
    async with Router(database, sources=[SOURCE], tracing=found.provider) as router:

        def refuse(*_given: object) -> None:
            raise ValueError(f"no room for {PHONE}")

        monkeypatch.setattr(router.log, "append_prepared", refuse)
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
