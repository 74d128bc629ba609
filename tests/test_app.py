"""Tests of `router.app`: all that a router is made of comes together, runs, and ends in order."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import make_url, select
from starlette.applications import Starlette
from starlette.routing import Mount

from router import Router, migrate, sqlite
from router.errors import ConfigError, PluginError, RouterError, SchemaError, StoreError
from router.events import Event
from router.hookspecs import hookimpl
from router.options import Options
from router.schema import make_tables
from router.store import Store
from tests.drafts import other
from tests.loops import in_loop
from tests.posting import Answer, StubSource, ask
from tests.records import read_lanes
from tests.samples import as_body, onprem_text, text_message
from tests.waiting import until

# One engine is enough: what is tested is how the parts are joined; some of it on each engine.
pytestmark = pytest.mark.engines("sqlite")


class Plugin:
    """A plugin that notes what happens to it.

    Attributes:
        notes: What happened, in order.
    """

    def __init__(self, name: str = "crm", *, options: Mapping[str, object] | None = None) -> None:
        self.plugin_name = name
        self.notes: list[str] = []
        self.door = asyncio.Event()
        self.door.set()
        self._options = options or {}

    @hookimpl
    def subscription_options(self) -> Mapping[str, object]:
        """Want what the test wants."""
        return self._options

    @hookimpl
    def on_start(self) -> None:
        """Note the start."""
        self.notes.append("start")

    @hookimpl
    def on_stop(self) -> None:
        """Note the stop."""
        self.notes.append("stop")

    @hookimpl
    async def on_event(self, event: Event) -> None:
        """Note the event, once the door is open."""
        self.notes.append(f"began {event.position}")
        await self.door.wait()
        self.notes.append(f"ended {event.position}")


class Misspelt:
    """A plugin that cannot be loaded."""

    plugin_name = "misspelt"

    def on_messgae(self, event: Event) -> None:
        """Never be called."""


async def post(router: Router, *, number: int = 1) -> Answer:
    """Send a notification with one message to the source "wa"."""
    body = as_body({"messages": [text_message(number)]})
    return await ask(router.asgi(), "/webhooks/wa", body=body)


def options_of(router: Router, name: str) -> Options:
    """Return the options of a subscription as they are on record."""
    store = router.log.store
    table = store.tables.subscription.c
    with store.reading() as connection:
        text = connection.scalars(select(table.options).where(table.name == name)).one()
    return msgspec.json.decode(text, type=Options)


# From start to stop.


@pytest.mark.engines("sqlite", "postgresql")
@in_loop
async def test_what_comes_in_is_handled(database: str) -> None:
    """A notification is answered 200, its event is in the log, and its plugin is called."""
    plugin = Plugin()
    async with Router(database, sources=[StubSource()], plugins=[plugin]) as router:
        assert (await post(router)).status == 200
        assert [event.position for event in router.log.read()] == [1]
        await until(lambda: "ended 1" in plugin.notes)
    assert plugin.notes == ["start", "began 1", "ended 1", "stop"]


@in_loop
async def test_a_plugin_is_stopped_after_its_last_call(database: str) -> None:
    """At the end a handler that was called may finish before its plugin lets go of anything."""
    plugin = Plugin()
    plugin.door.clear()
    router = Router(database, sources=[StubSource()], plugins=[plugin])
    await router.__aenter__()
    await post(router)
    await until(lambda: "began 1" in plugin.notes)
    stopping = asyncio.create_task(router.__aexit__(None, None, None))
    await asyncio.sleep(0)
    plugin.door.set()
    await stopping
    assert plugin.notes == ["start", "began 1", "ended 1", "stop"]


@pytest.mark.engines("sqlite", "postgresql")
@in_loop
async def test_nothing_is_left_behind(database: str) -> None:
    """After the end no worker and no lease is on record, and all progress is."""
    plugin = Plugin()
    async with Router(database, sources=[StubSource()], plugins=[plugin]) as router:
        await post(router)
        await until(lambda: "ended 1" in plugin.notes)
    store = Store(database)
    # Of the lane that the event is in: the others may not have looked yet.
    assert max(lane.checkpoint for lane in read_lanes(store)) == 1
    assert {lane.owner for lane in read_lanes(store)} == {None}
    with store.reading() as connection:
        assert connection.execute(select(store.tables.worker)).all() == []
    store.close()


@in_loop
async def test_a_router_is_entered_once(database: str) -> None:
    """While it runs it cannot be started again, and goes on."""
    router = Router(database, sources=[StubSource()])
    async with router:
        with pytest.raises(RouterError, match="runs already"):
            await router.__aenter__()
        assert (await post(router)).status == 200


@in_loop
async def test_a_router_is_entered_once_by_whoever_comes_first(database: str) -> None:
    """Of two who start it at the same moment one does, and the other is refused."""
    plugin = Plugin()
    router = Router(database, plugins=[plugin])
    results = await asyncio.gather(router.__aenter__(), router.__aenter__(), return_exceptions=True)
    await router.__aexit__(None, None, None)
    assert sorted(type(one).__name__ for one in results) == ["Router", "RouterError"]
    assert plugin.notes == ["start", "stop"]


@pytest.mark.engines("sqlite", "postgresql")
@in_loop
async def test_a_router_may_run_again(database: str) -> None:
    """After its end it can be entered once more, and goes on where it was."""
    plugin = Plugin(options={"start": "beginning"})
    router = Router(database, sources=[StubSource()], plugins=[plugin])
    for number in (1, 2):
        async with router:
            assert (await post(router, number=number)).status == 200
            await until(lambda: f"ended {number}" in plugin.notes)  # noqa: B023 - ends here
    assert plugin.notes.count("began 1") == plugin.notes.count("began 2") == 1


@in_loop
async def test_an_error_in_the_block_ends_the_router(database: str) -> None:
    """Whatever ends the block, the router is stopped in good order, and the error goes on."""
    plugin = Plugin()
    with suppress(ZeroDivisionError):
        async with Router(database, plugins=[plugin]):
            raise ZeroDivisionError
    assert plugin.notes == ["start", "stop"]


@in_loop
async def test_draining_comes_before_the_end(database: str) -> None:
    """Once it drains, a router refuses notifications and is not ready; its log can be read."""
    plugin = Plugin()
    async with Router(database, sources=[StubSource()], plugins=[plugin]) as router:
        await post(router)
        await until(lambda: "ended 1" in plugin.notes)
        assert (await ask(router.asgi(), "/readyz", method="GET")).status == 200
        await router.drain()
        assert (await post(router, number=2)).status == 503
        assert (await ask(router.asgi(), "/readyz", method="GET")).status == 503
        assert router.log.head() == 1
        assert "stop" not in plugin.notes
    assert plugin.notes[-1] == "stop"


@in_loop
async def test_a_router_may_only_receive(database: str) -> None:
    """With delivers=False it stores what comes, and calls no handler."""
    plugin = Plugin()
    sources = [StubSource()]
    async with Router(database, sources=sources, plugins=[plugin], delivers=False) as router:
        assert (await post(router)).status == 200
        assert read_lanes(router.log.store) == []
    assert plugin.notes == ["start", "stop"]


@pytest.mark.engines("sqlite", "postgresql")
@in_loop
async def test_a_router_may_only_deliver(database: str) -> None:
    """With receives=False it takes no notification, and delivers what others store."""
    plugin = Plugin()
    async with (
        Router(database, plugins=[plugin], receives=False) as worker,
        Router(database, sources=[StubSource()], delivers=False) as receiver,
    ):
        assert (await post(worker)).status == 503
        assert (await post(receiver)).status == 200
        await until(lambda: "ended 1" in plugin.notes)


@in_loop
async def test_two_routers_live_in_one_process(database: str, tmp_path: Path) -> None:
    """Routers on two databases share nothing."""
    other = f"sqlite:///{tmp_path / 'other.db'}"
    store = Store(other, create=True)
    migrate.upgrade(store.engine, store.tables)
    store.close()
    one, two = Plugin(), Plugin()
    async with (
        Router(database, sources=[StubSource()], plugins=[one]) as first,
        Router(other, sources=[StubSource()], plugins=[two]) as second,
    ):
        await post(first)
        await until(lambda: "ended 1" in one.notes)
        assert second.log.head() == 0
    assert two.notes == ["start", "stop"]


@in_loop
async def test_an_engine_that_is_handed_in_stays_open(tmp_path: Path) -> None:
    """A router on a host's engine, with a prefix of its own, leaves the engine to the host."""
    url = make_url(f"sqlite:///{tmp_path / 'host.db'}")
    engine = sqlite.open_engine(url, create=True)
    migrate.upgrade(engine, make_tables(prefix="hooks_"))
    plugin = Plugin()
    router = Router(engine, sources=[StubSource()], plugins=[plugin], table_prefix="hooks_")
    async with router:
        await post(router)
        await until(lambda: "ended 1" in plugin.notes)
    with engine.connect() as connection:
        query = "SELECT count(*) FROM hooks_event"
        assert connection.exec_driver_sql(query).scalar_one() == 1
    engine.dispose()


# What keeps it from starting.


@in_loop
async def test_a_broken_plugin_keeps_the_router_from_starting(database: str) -> None:
    """A handler that is left out is lost work: nothing starts, and the fix is named."""
    plugin = Plugin()
    router = Router(database, plugins=[plugin, Misspelt()])
    with pytest.raises(PluginError, match=r"'misspelt'.*did you mean on_message"):
        await router.__aenter__()
    assert plugin.notes == []


@in_loop
async def test_a_database_without_tables_keeps_the_router_from_starting(tmp_path: Path) -> None:
    """Nothing migrates by itself: the command that does is named."""
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Store(url, create=True).engine.connect().close()
    plugin = Plugin()
    with pytest.raises(SchemaError, match="router db upgrade"):
        await Router(url, plugins=[plugin]).__aenter__()
    assert plugin.notes == []


@in_loop
async def test_a_newer_database_keeps_the_router_from_starting(database: str) -> None:
    """Tables of a later version are refused, with both revisions."""
    store = Store(database)
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE router_schema_version SET version_num = '9999'")
    store.close()
    with pytest.raises(SchemaError, match=r"9999.*newer than"):
        await Router(database).__aenter__()


@in_loop
async def test_a_database_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A typing error in the URL makes no new database, whatever is asked of it."""
    path = tmp_path / "typo.db"
    router = Router(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="router db upgrade"):
        await router.__aenter__()
    for act in (router.log.head, lambda: router.append("shop", b"1", events=[other()])):
        with pytest.raises(StoreError, match="router db upgrade"):
            act()
    assert not path.exists()


@in_loop
async def test_a_plugin_that_cannot_start_keeps_the_router_from_starting(database: str) -> None:
    """Plugins that had started are stopped again, and the router can be entered later."""

    class Failing(Plugin):
        fails = True

        @hookimpl
        def on_start(self) -> None:
            if self.fails:
                raise OSError("no CRM")

    plugin, failing = Plugin(), Failing("failing")
    router = Router(database, sources=[StubSource()], plugins=[plugin, failing])
    with pytest.raises(PluginError, match=r"'failing'.*on_start\(\) failed: OSError: no CRM"):
        await router.__aenter__()
    assert plugin.notes == ["start", "stop"]
    assert (await post(router)).status == 503
    failing.fails = False
    async with router:
        assert (await post(router)).status == 200


def test_two_sources_of_one_name_are_refused(database: str) -> None:
    """A route belongs to one source."""
    with pytest.raises(ConfigError, match="two sources are called 'wa': rename one"):
        Router(database, sources=[StubSource(), StubSource()])


# Options.


@in_loop
async def test_options_come_from_plugin_and_settings(database: str) -> None:
    """What a plugin wants is overruled key by key by its table [subscriptions.NAME]."""
    plugin = Plugin(options={"timeout": "5s", "retry": {"first": "1s", "cap": "1m"}})
    given: dict[str, dict[str, object]] = {"crm": {"timeout": "7s", "retry": {"first": "2s"}}}
    async with Router(database, plugins=[plugin], subscriptions=given) as router:
        found = options_of(router, "crm")
    assert (found.timeout, found.retry.first, found.retry.cap) == (7.0, 2.0, 60.0)
    assert found.concurrency == Options().concurrency


def test_an_unknown_option_is_refused(database: str) -> None:
    """A misspelt option is named with its table and what was perhaps meant."""
    given = {"crm": {"timeuot": "7s"}}
    with pytest.raises(ConfigError, match=r"\[subscriptions.crm\].timeuot .*did you mean timeout"):
        Router(database, plugins=[Plugin()], subscriptions=given)


# Mounted.


@in_loop
async def test_an_application_without_its_lifespan_says_so(database: str) -> None:
    """Mounted, but never started, it answers 503 and names the fix."""
    app = Starlette(routes=[Mount("/hooks", Router(database, sources=[StubSource()]).asgi())])
    answer = await ask(app, "/hooks/webhooks/wa", body=as_body(onprem_text()))
    assert answer.status == 503
    assert "lifespan=router.lifespan" in answer.problem["detail"]


@in_loop
async def test_a_lifespan_starts_what_is_mounted(database: str) -> None:
    """With the router's lifespan a host's application receives and delivers."""
    plugin = Plugin()
    router = Router(database, sources=[StubSource()], plugins=[plugin])
    app = Starlette(routes=[Mount("/hooks", router.asgi())], lifespan=router.lifespan)
    async with app.router.lifespan_context(app):
        answer = await ask(app, "/hooks/webhooks/wa", body=as_body(onprem_text()))
        assert answer.status == 200
        await until(lambda: "ended 1" in plugin.notes)
    assert plugin.notes[-1] == "stop"


@in_loop
async def test_the_application_starts_the_router_by_itself(database: str) -> None:
    """Served alone, the application's own lifespan starts and stops the router."""
    plugin = Plugin()
    app = Router(database, plugins=[plugin]).asgi()
    to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: list[str] = []

    async def send(message: Mapping[str, object]) -> None:
        answers.append(str(message["type"]))

    to_app.put_nowait({"type": "lifespan.startup"})
    serving = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, to_app.get, send)
    )
    await until(lambda: answers)
    assert plugin.notes == ["start"]
    to_app.put_nowait({"type": "lifespan.shutdown"})
    await serving
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert plugin.notes == ["start", "stop"]


# From a file.

HANDLERS = """
from router import hookimpl

handled = []

@hookimpl
async def on_message(event, context):
    handled.append((event.subject, event.payload["id"]))
"""

SETTINGS = """
database = {database!r}
plugins_dir = ["handlers"]

[sources.wa]
adapter = "whatsapp"
verification = "none"
channel = "+15550001122"

[subscriptions.crm]
start = "beginning"
concurrency = 3
retry = {{ first = "1ms", attempts = 2 }}
"""


def write_settings(folder: Path, database: str, more: str = "") -> Path:
    """Write a `router.toml` with a source, and a plugin called crm; return the file's path."""
    (folder / "handlers").mkdir()
    (folder / "handlers" / "crm.py").write_text(HANDLERS)
    path = folder / "router.toml"
    path.write_text(SETTINGS.format(database=database) + more)
    return path


@in_loop
async def test_a_router_is_made_from_its_file(database: str, tmp_path: Path) -> None:
    """Database, sources, plugins and options all come from `router.toml`."""
    router = Router.from_config(write_settings(tmp_path, database))
    async with router:
        (plugin,) = router.host.subscribers()
        handled = vars(plugin.module)["handled"]
        answer = await ask(router.asgi(), "/webhooks/wa", body=as_body(onprem_text()))
        assert answer.status == 200
        await until(lambda: handled)
        found = options_of(router, "crm")
    assert handled == [("+15550001122:5215500001111", "wamid.IN1")]
    assert (found.start, found.concurrency) == ("beginning", 3)
    assert (found.retry.first, found.retry.attempts, found.retry.factor) == (0.001, 2, 2)


@in_loop
async def test_a_router_finds_its_file_where_it_works(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a path it reads `router.toml` in the working directory."""
    write_settings(tmp_path, database)
    monkeypatch.chdir(tmp_path)
    router = Router.from_config()
    assert [plugin.name for plugin in router.host.subscribers()] == ["crm"]


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A path that was given must lead somewhere."""
    with pytest.raises(ConfigError, match=r"none\.toml does not exist"):
        Router.from_config(tmp_path / "none.toml")


@in_loop
async def test_the_database_may_be_a_secret(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database URL that stands in the environment is read from there."""
    monkeypatch.setenv("THE_LOG", database)
    async with Router.from_config(write_settings(tmp_path, "env:THE_LOG")) as router:
        assert router.log.head() == 0


def test_an_unknown_adapter_is_refused(database: str, tmp_path: Path) -> None:
    """A misspelt adapter is named with its source, what was perhaps meant, and what there is."""
    path = write_settings(tmp_path, database, '[sources.x]\nadapter = "whatsap"\n')
    with pytest.raises(ConfigError) as error:
        Router.from_config(path)
    assert str(error.value) == (
        "[sources.x].adapter 'whatsap' is unknown: did you mean whatsapp? Known are whatsapp"
    )


@in_loop
async def test_a_worker_needs_no_secret_of_a_source(database: str, tmp_path: Path) -> None:
    """Secrets are resolved only where they are used: not in a process that receives nothing."""
    more = '[sources.x]\nadapter = "whatsapp"\napp_secrets = ["env:NOT_SET_ANYWHERE"]\n'
    path = write_settings(tmp_path, database, more)
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        Router.from_config(path)
    async with Router.from_config(path, receives=False) as router:
        assert len(read_lanes(router.log.store)) == 1


def test_settings_of_plugins_that_are_not_loaded_are_told(
    database: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table or a variable for a plugin that is not there is a warning, no refusal."""
    monkeypatch.setenv("ROUTER_PLUGINS__LEFT__URL", "x")
    more = '[subscriptions.gone]\ntimeout = "1s"\n[plugins.lost]\nurl = "x"\n'
    with caplog.at_level(logging.WARNING):
        Router.from_config(write_settings(tmp_path, database, more))
    assert [record.getMessage() for record in caplog.records] == [
        "the settings speak of plugin 'gone', which is not loaded",
        "the settings speak of plugin 'lost', which is not loaded",
        "the variable ROUTER_PLUGINS__LEFT__URL speaks of a plugin that is not loaded",
    ]


def test_a_broken_file_of_handlers_is_refused(database: str, tmp_path: Path) -> None:
    """A plugin whose import fails stops the router before anything else, with its place."""
    path = write_settings(tmp_path, database)
    (tmp_path / "handlers" / "broken.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(PluginError, match=r"'broken'.*nothing_of_that_name.*broken\.py:1"):
        Router.from_config(path)


@in_loop
async def test_a_plugin_without_handlers_has_no_subscription(database: str) -> None:
    """Who handles no event is started and stopped, and has no progress on record."""
    notes: list[str] = []

    class Idle:
        plugin_name = "idle"

        @hookimpl
        def on_start(self) -> None:
            notes.append("start")

    async with Router(database, plugins=[Idle()]) as router:
        assert read_lanes(router.log.store, "idle") == []
    assert notes == ["start"]


def test_whoever_embeds_it_has_what_the_commands_do(database: str) -> None:
    """Subscriptions are paused and dead letters listed from a coroutine, on another thread."""

    async def steer(router: Router) -> tuple[bool, int]:
        async with router:
            is_new = await asyncio.to_thread(router.control.pause, "crm", actor="ana")
            return is_new, len(await asyncio.to_thread(router.dead_letters.list, limit=9))

    assert asyncio.run(steer(Router(database, plugins=[Plugin()]))) == (True, 0)
