"""Tests of `router.receiver` while it cannot take anything: it says so, and what would help."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router import Router
from router.log import EventLog
from router.receiver import Receiver, make_application
from router.writer import Writer
from tests.entries import make_entry
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.receiving import LIMIT, assert_problem, running, signature, whatsapp
from tests.waiting import until

# One engine is enough: what is tested is HTTP.
pytestmark = pytest.mark.engines("sqlite")

BODY = b'{"contacts": []}'


@contextmanager
def locked(log: EventLog) -> Iterator[None]:
    """Hold the write lock as another process would."""
    other = sqlite3.connect(log.store.engine.url.database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@in_loop
async def test_a_store_that_is_down_is_retried_later(database: str) -> None:
    """While another process holds the lock the provider is the buffer: 503 and when to retry."""
    async with running(f"{database}?timeout=0") as router:
        with locked(router.log):
            answer = await ask(router.asgi(), "/webhooks/wa", body=b"{}")
            assert_problem(answer, 503, "database is locked")
            assert int(answer.headers["retry-after"]) > 0
        assert router.log.head() == 0
        answer = await ask(router.asgi(), "/webhooks/wa", body=b"{}")
        assert (answer.status, router.log.head()) == (200, 1)


@in_loop
async def test_a_full_queue_is_retried_later(log: EventLog) -> None:
    """When more waits than there is room for, the next is refused before it takes memory."""
    writer = Writer(log, max_waiting=1)
    receiver = Receiver({"wa": StubSource()}, max_body=LIMIT, check=lambda: None, clock=lambda: 1e9)
    receiver.open(writer)
    writer.start()
    with log.store.gate.turn():
        first = asyncio.ensure_future(writer.append(make_entry()))
        await until(lambda: log.store.gate.is_append_waiting)
        second = asyncio.ensure_future(writer.append(make_entry()))
        await asyncio.sleep(0)
        answer = await ask(receiver, "/webhooks/wa", body=b"{}")
        assert_problem(answer, 503, "than there is room for")
        assert int(answer.headers["retry-after"]) > 0
    await asyncio.gather(first, second)
    await asyncio.to_thread(writer.stop)
    assert log.head() == 2


@in_loop
async def test_a_router_that_drains_is_not_ready(database: str) -> None:
    """From the first moment of a stop on it takes nothing, and says so to whoever probes."""
    async with running(database, whatsapp()) as router:
        app = router.asgi()
        assert (await ask(app, "/readyz", method="GET")).status == 200
        await router.drain()
        for method, path in (("GET", "/readyz"), ("POST", "/webhooks/wa"), ("GET", "/webhooks/wa")):
            answer = await ask(app, path, method=method, body=BODY, headers=[signature(BODY)])
            assert_problem(answer, 503, "the router is stopping")
            assert int(answer.headers["retry-after"]) > 0
        assert (await ask(app, "/livez", method="GET")).status == 200
        assert router.log.head() == 0


@in_loop
async def test_what_was_under_way_when_it_stopped_is_answered(database: str) -> None:
    """A request that was taken before the stop is stored and told so."""
    async with running(database) as router:
        app = router.asgi()
        with router.log.store.gate.turn():
            sending = asyncio.ensure_future(ask(app, "/webhooks/wa", body=b"{}"))
            await until(lambda: router.log.store.gate.is_append_waiting)
            await router.drain()
            assert not sending.done()
    assert (await sending).status == 200


@in_loop
async def test_a_router_that_was_never_started_names_the_fix(database: str) -> None:
    """An application that is mounted without `lifespan` refuses everything, and says why."""
    router = Router(database, sources=[whatsapp()], delivers=False)
    outer = Starlette(routes=[Mount("/in", router.asgi())])
    for method, path in (("POST", "/in/webhooks/wa"), ("GET", "/in/readyz")):
        answer = await ask(outer, path, method=method, body=BODY, headers=[signature(BODY)])
        assert_problem(answer, 503, "lifespan=router.lifespan")
    assert (await ask(outer, "/in/livez", method="GET")).status == 200


async def live(app: ASGIApp, work: Callable[[], Awaitable[None]]) -> None:
    """Run an application's lifespan around ``work``, as a server does."""
    received: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    serving_it = asyncio.ensure_future(app({"type": "lifespan"}, received.get, sent.put))
    await received.put({"type": "lifespan.startup"})
    assert (await sent.get())["type"] == "lifespan.startup.complete"
    await work()
    await received.put({"type": "lifespan.shutdown"})
    assert (await sent.get())["type"] == "lifespan.shutdown.complete"
    await serving_it


@pytest.mark.parametrize("mounted", [True, False])
@in_loop
async def test_the_lifespan_of_an_application_runs_it(database: str, *, mounted: bool) -> None:
    """Served by itself it starts itself; mounted, the outer application's lifespan does."""
    router = Router(database, sources=[StubSource()], delivers=False)
    app: ASGIApp = router.asgi()
    if mounted:
        app = Starlette(routes=[Mount("/in", app)], lifespan=router.lifespan)

    async def post() -> None:
        prefix = "/in" if mounted else ""
        assert (await ask(app, f"{prefix}/webhooks/wa", body=b"{}")).status == 200

    await live(app, post)
    assert router.log.head() == 1
    router.log.store.close()


@in_loop
async def test_a_middleware_of_the_host_changes_one_answer_alone(database: str) -> None:
    """A host may add headers to an answer in place; the next one is as bare as the first."""
    async with running(database) as router:
        inner = router.asgi()

        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            async def mark(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"].append((b"x-mark", b"1"))
                await send(message)

            await inner(scope, receive, mark)

        await ask(outer, "/webhooks/wa", body=b"1")
        answer = await ask(inner, "/webhooks/wa", body=b"2")
        assert (answer.status, "x-mark" in answer.headers) == (200, False)


@in_loop
async def test_readiness_looks_at_the_schema(database: str) -> None:
    """A database that another version has upgraded meanwhile is not ready; alive is alive."""
    async with running(database) as router:
        app = router.asgi()
        with router.log.store.writing() as connection:
            connection.exec_driver_sql("UPDATE router_schema_version SET version_num = '9999'")
        assert_problem(await ask(app, "/readyz", method="GET"), 503, "9999")
        assert (await ask(app, "/livez", method="GET")).status == 200


@in_loop
async def test_readiness_looks_at_the_database(database: str) -> None:
    """A database that cannot be read is not ready, whatever the driver calls it."""
    async with running(database) as router:
        app = router.asgi()
        with router.log.store.writing() as connection:
            connection.exec_driver_sql("DROP TABLE router_schema_version")
        assert_problem(await ask(app, "/readyz", method="GET"), 503, "router db upgrade")


@in_loop
async def test_readiness_does_not_wait_for_ever(log: EventLog) -> None:
    """A database that says nothing at all is not ready."""
    may_go_on = threading.Event()

    def check() -> None:
        may_go_on.wait(timeout=30)

    receiver = Receiver(
        {},
        max_body=LIMIT,
        check=check,
        clock=lambda: 1e9,
        patience=0.01,
    )
    receiver.open(Writer(log))
    app = make_application(receiver, lifespan=lambda _app: nullcontext())
    answer = await ask(app, "/readyz", method="GET")
    may_go_on.set()
    assert_problem(answer, 503, "does not answer")
