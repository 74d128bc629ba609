"""The page on embedding keeps its word: its shop works, and finds nothing of its own touched."""

import asyncio
import hmac
import json
import logging
import signal
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from sqlalchemy import select
from starlette.routing import Mount

from router import Router
from router.cli import router as command
from router.errors import StoreError
from router.log import EventLog
from tests import databases
from tests.embedding.shop import SECRETS, Shop, find_files, load
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.samples import as_body, text_message
from tests.scraping import pick, scrape
from tests.waiting import until

WEBHOOK = "/x/notify/webhooks/wa"


@pytest.fixture
def application(shop: Shop) -> Any:  # noqa: ANN401  # a module that is not there to be typed
    """The shop's module, with all tables made by its own migrations."""
    shop.upgrade()
    return load("application")


def sign(body: bytes) -> dict[str, str]:
    """Return the headers with which Meta sends ``body``."""
    proof = hmac.digest(SECRETS["WA_SECRET"].encode(), body, "sha256").hex()
    return {"x-hub-signature-256": f"sha256={proof}"}


def find_state(number: int) -> str | None:
    """Return what has become of an order."""
    database = load("database")
    with database.engine.connect() as connection:
        query = select(database.orders.c.state).where(database.orders.c.number == number)
        state: str | None = connection.scalars(query).one_or_none()
    return state


def test_every_file_is_known() -> None:
    """No Python is shown that is not run here."""
    assert find_files().keys() == {
        *("shop/database.py", "shop/application.py", "shop/crm.py", "shop/asynchronous.py"),
        *("migrations/env.py", "migrations/versions/0001_orders.py"),
        *("migrations/versions/0002_notifications.py", "alembic.ini"),
    }


def test_the_tables_are_made_by_a_script(shop: Shop) -> None:
    """The first way of the page begins with nothing; before it nothing is made by accident."""
    router = load("application").router
    if shop.url.startswith("sqlite"):
        with pytest.raises(StoreError, match=r"there is no database .*shop.db"):
            asyncio.run(router.__aenter__())
        assert not (shop.folder / "shop.db").exists()
    router.create_tables()
    assert "notify_event" in shop.find_tables()


def test_a_host_receives_appends_and_delivers(application: Any) -> None:  # noqa: ANN401
    """Mounted below a path the router takes webhooks, and what the host's transactions tell."""
    body = as_body({"messages": [text_message(1)]})
    with TestClient(application.app) as client:
        assert client.post(WEBHOOK, content=body, headers=sign(body)).status_code == 200
        assert client.post(WEBHOOK, content=body).status_code == 401
        assert client.get("/x/notify/livez").status_code == 200
        assert client.get("/x/notify/readyz").status_code == 200
        assert client.post("/orders/7").json() == {"position": 2}
        asyncio.run(until(lambda: find_state(7) == "packed"))
        with pytest.raises(Exception, match=r"UNIQUE|unique"):
            client.post("/orders/7")
        assert client.post("/orders/8").json() == {"position": 3}
        asyncio.run(until(lambda: find_state(8) == "packed"))
        sources = [event.source for event in application.router.log.read()]
    assert sources == ["wa", "shop", "shop"]


def test_nothing_of_the_hosts_is_touched(shop: Shop) -> None:
    """Logging, signals and the registry that all share are as they were; the host's has ours."""
    shop.upgrade()
    before = look_around()
    application = load("application")
    with TestClient(application.app) as client:
        client.post("/orders/7")
        asyncio.run(until(lambda: find_state(7) == "packed"))
        assert look_around() == before
        # What came of calls is counted once it is on record.
        asyncio.run(until(lambda: pick(scrape(application.registry), "router_deliveries_total")))
    assert look_around() == before
    assert shop.find_revisions()[0] == ["0002"]
    shop.require_clean()


def look_around() -> tuple[object, ...]:
    """Return what a library might be tempted to change."""
    root = logging.getLogger()
    handled = [name for name in logging.Logger.manager.loggerDict if name.split(".")[0] == "router"]
    return (
        root.level,
        tuple(root.handlers),
        [logging.getLogger(name).level for name in handled] == [0] * len(handled),
        any(logging.getLogger(name).propagate is False for name in handled),
        tuple(signal.getsignal(number) for number in signal.valid_signals()),
        sorted(family.name for family in REGISTRY.collect()),
    )


def test_a_forgotten_lifespan_is_told(application: Any) -> None:  # noqa: ANN401
    """Without it every door answers 503 with the line to add; nothing is taken."""
    body = as_body({"messages": [text_message(1)]})
    app = FastAPI()
    app.mount("/x/notify", application.router.asgi())
    with TestClient(app) as client:
        for answer in (
            client.post(WEBHOOK, content=body, headers=sign(body)),
            client.get("/x/notify/readyz"),
        ):
            assert answer.status_code == 503
            assert "lifespan=router.lifespan" in answer.json()["detail"]
        assert client.get("/x/notify/livez").status_code == 200
    assert application.router.log.head() == 0


@pytest.mark.parametrize("path", [WEBHOOK, f"/behind{WEBHOOK}"], ids=["taken off", "left on"])
def test_a_proxy_may_take_a_prefix_off(application: Any, path: str) -> None:  # noqa: ANN401
    """Whether or not the prefix that ``root_path`` tells of is still there, all doors are found."""
    body = as_body({"messages": [text_message(1)]})
    with TestClient(application.app, root_path="/behind") as client:
        assert client.post(path, content=body, headers=sign(body)).status_code == 200
        probe = path.replace("webhooks/wa", "readyz")
        assert client.get(probe).status_code == 200


def test_an_asynchronous_transaction_appends(application: Any) -> None:  # noqa: ANN401
    """What the page shows for an `AsyncConnection` is what it takes: it need not be entered."""
    note = load("asynchronous").note
    body = as_body({"messages": [text_message(1)]})

    class Asynchronous:
        def __init__(self, own: object) -> None:
            self._own = own

        async def run_sync(self, act: Any) -> object:  # noqa: ANN401
            return act(self._own)

    with load("database").engine.begin() as own:
        asyncio.run(note(Asynchronous(own), body))
    assert [event.type for event in application.router.log.read()] == ["message"]


# Which process does what.


@in_loop
async def test_receiver_and_worker_may_be_apart(application: Any) -> None:  # noqa: ANN401
    """One router only receives, and another one on the same database only delivers."""
    names = {"table_prefix": "notify_"}
    url = load("database").URL
    receiver = Router(url, sources=[StubSource()], delivers=False, **names)  # type: ignore[arg-type]
    worker = Router(url, plugins=[load("crm")], receives=False, **names)  # type: ignore[arg-type]
    app = FastAPI(routes=[Mount("/r", receiver.asgi()), Mount("/w", worker.asgi())])
    async with receiver, worker:
        assert (await ask(app, "/r/webhooks/wa", body=b"{}")).status == 200
        refusal = await ask(app, "/w/webhooks/wa", body=b"{}")
        assert refusal.status == 503
        assert "takes no notifications" in refusal.problem["detail"]
        await asyncio.to_thread(place, application, 7)
        await until(lambda: find_state(7) == "packed")
    assert (await ask(app, "/r/webhooks/wa", body=b"{}")).status == 503


def place(application: Any, number: int) -> None:  # noqa: ANN401
    """Order something, from a router that is not entered."""
    application.order(number)


def test_commands_work_beside_the_host(application: Any, shop: Shop) -> None:  # noqa: ANN401
    """`router.toml` names the prefix, so that all commands see what is inside the application."""
    place(application, 7)
    (shop.folder / "router.toml").write_text('table_prefix = "notify_"\n', "utf-8")
    for words, shown in (("events list", "order.placed"), ("db check", ""), ("doctor", "schema")):
        done = CliRunner().invoke(command, words.split())
        assert done.exit_code == 0, done.output
        assert shown in done.output
    sql = CliRunner().invoke(command, ["db", "sql"]).output
    assert "CREATE TABLE notify_event " in sql
    with closing(Router.from_config().log.store) as store:
        assert EventLog(store).head() == 1


@in_loop
async def test_two_routers_on_two_databases(application: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """Side by side in one application each has its own log, its own schema and its own doors."""
    databases.make_empty(f"sqlite:///{tmp_path / 'other.db'}")
    other = Router(f"sqlite:///{tmp_path / 'other.db'}", sources=[StubSource()])
    own = application.router
    app = FastAPI(routes=[Mount("/a", own.asgi()), Mount("/b", other.asgi())])
    async with own, other:
        assert (await ask(app, "/b/webhooks/wa", body=b"{}")).status == 200
        await asyncio.to_thread(place, application, 7)
        assert [event.source for event in other.log.read()] == ["wa"]
        assert [event.source for event in own.log.read()] == ["shop"]


# Hosts' engines.


@pytest.mark.engines("sqlite")
def test_the_hosts_engine_is_refused_where_it_begins_by_itself(application: Any) -> None:  # noqa: ANN401
    """On SQLite the router is not given the engine of the page, but the URL: it says so itself."""
    with pytest.raises(StoreError, match="give the router the URL"):
        Router(load("database").engine, table_prefix="notify_")
    assert application.router.log.head() == 0


@pytest.mark.engines("postgresql")
@in_loop
async def test_the_hosts_engine_is_left_as_it_was(application: Any) -> None:  # noqa: ANN401
    """Nothing is hung onto an engine that is handed over, and it works on when the router ends."""
    engine = load("database").engine
    before = listeners_of(engine)
    async with Router(engine, plugins=[load("crm")], table_prefix="notify_"):
        await asyncio.to_thread(place, application, 7)
        await until(lambda: find_state(7) == "packed")
        assert listeners_of(engine) == before
    assert find_state(7) == "packed"
    assert json.loads(next(EventLog(engine, table_prefix="notify_").read()).notification.body)


def listeners_of(engine: Any) -> Mapping[str, int]:  # noqa: ANN401
    """Return how many listen to each event of an engine and its pool."""
    found: dict[str, int] = {}
    for one in (engine, engine.pool, engine.dialect):
        for name in dir(one.dispatch):
            if not name.startswith("_"):
                found[name] = len(list(getattr(one.dispatch, name)))
    return found
