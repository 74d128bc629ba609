"""Tests of `router.traced`: what a collector of spans is given of the calls of handlers."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from router import Router
from router import conventions as names
from router.events import Event
from router.hookspecs import hookimpl
from tests.hosted import Parrot, hosted
from tests.loops import in_loop
from tests.spans import Collected, attributes_of, context_of, links_of, place_of
from tests.telling import (
    PHONE,
    SOURCE,
    Telling,
    Transactional,
    body_of,
    each_kind,
    post,
    stored,
)
from tests.waiting import until


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
