"""Tests of `router.plugin_tables`: made when somebody says so, compared, and asked for at start."""

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from router import Context, Event, Retry, Router, hookimpl, plugin_tables, sqlite
from router.errors import PluginError, SchemaError
from router.host import Host
from router.schema import make_tables
from router.store import Store
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.samples import as_body, text_message
from tests.waiting import until

ROOT = Path(__file__).parents[1]


def make_metadata(*names: str, schema: str | None = None) -> MetaData:
    """Tables of these names, each with a key and a text."""
    metadata = MetaData(schema=schema)
    for name in names:
        Table(name, metadata, Column("id", Integer, primary_key=True), Column("text", Text))
    return metadata


class Model:
    """A plugin that counts the messages of each subject in a table of its own."""

    plugin_name = "model"

    def __init__(self) -> None:
        self.metadata = MetaData()
        self.table = Table(
            "model_count",
            self.metadata,
            Column("subject", Text, primary_key=True),
            Column("messages", Integer, nullable=False),
        )

    @hookimpl
    def tables(self) -> MetaData:
        """The count."""
        return self.metadata

    @hookimpl
    def subscription_options(self) -> dict[str, object]:
        """Want all that there is."""
        return {"start": "beginning"}

    @hookimpl
    def on_message(self, event: Event, context: Context, connection: Connection) -> None:
        """Count it, every second one only after a failure that comes late."""
        is_sqlite = connection.dialect.name == "sqlite"
        insert = sqlite_insert(self.table) if is_sqlite else postgresql_insert(self.table)
        first = insert.values(subject=event.subject, messages=1)
        more = {"messages": self.table.c.messages + 1}
        connection.execute(first.on_conflict_do_update(index_elements=["subject"], set_=more))
        if event.position % 2 == 0 and context.attempt == 1:
            raise Retry("once more", after="1ms")


def names(store: Store) -> list[str]:
    """The tables of the database that are not the router's own."""
    own = {*(table.name for table in store.tables.metadata.tables.values()), store.tables.version}
    return sorted(set(inspect(store.engine).get_table_names()) - own)


# Creation.


def test_only_what_is_missing_is_made(store: Store) -> None:
    """What exists is left as it is, however it differs; a second time nothing is made."""
    made: list[str] = []
    with store.writing() as connection:
        connection.execute(text("CREATE TABLE note (other TEXT)"))
    wanted = {"crm": make_metadata("contact", "note"), "idle": make_metadata()}

    for _ in range(2):
        plugin_tables.create(store.engine, wanted, tell=lambda *one: made.append(" ".join(one)))

    assert made == ["crm contact"]
    assert names(store) == ["contact", "note"]
    with store.reading() as connection:
        assert connection.execute(text("SELECT * FROM note")).keys() == {"other"}


@pytest.mark.engines("sqlite")
def test_tables_of_a_plugin_are_made_together_or_not_at_all(store: Store) -> None:
    """One that cannot be made takes its plugin's others with it, and costs no other plugin."""
    bad = make_metadata("a_first")
    Table("b_second", bad, Column("id", Integer, CheckConstraint("no_such_column > 0")))
    wanted = {"bad": bad, "crm": make_metadata("contact")}

    with pytest.raises(SchemaError, match=r"tables of plugin 'bad' were not created: "):
        plugin_tables.create(store.engine, wanted)

    assert names(store) == ["contact"]


@pytest.mark.engines("sqlite")
def test_processes_may_create_at_once(store: Store) -> None:
    """Each of several processes succeeds, and just one of them made the tables."""
    script = (
        "import sys; from router import plugin_tables; from router.store import Store;"
        "from tests.test_plugin_tables import make_metadata;"
        "engine = Store(sys.argv[1]).engine;"
        "print('ready', flush=True); sys.stdin.readline();"
        "wanted = {'crm': make_metadata(*(f't{n}' for n in range(40)))};"
        "plugin_tables.create(engine, wanted, tell=print); engine.dispose()"
    )
    command = [sys.executable, "-c", script, store.engine.url.render_as_string(hide_password=False)]
    started = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [len(process.communicate()[0].splitlines()) for process in started]

    assert [process.returncode for process in started] == [0, 0, 0]
    assert sorted(lines) == [0, 0, 40]


# Differences.


@pytest.fixture
def rich() -> MetaData:
    """A table with columns of many types, and one that refers to it."""
    metadata = MetaData()
    parent = Table(
        "parent",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("state", Enum("new", "old", name="state"), nullable=False, server_default="new"),
        Column("amount", Numeric(10, 2)),
        Column("big", BigInteger, index=True),
        Column("flag", Boolean),
        Column("at", DateTime(timezone=True)),
        Column("data", JSON),
        Column("raw", LargeBinary),
        Column("name", String(20), unique=True),
    )
    Table("child", metadata, Column("parent", ForeignKey("parent.id"), primary_key=True))
    Index("parent_flag", parent.c.flag, parent.c.at.desc())
    return metadata


def test_what_was_just_made_differs_in_nothing(store: Store, rich: MetaData) -> None:
    """No type that is written one way and read back in another is told as a difference."""
    plugin_tables.create(store.engine, {"crm": rich})

    assert plugin_tables.find_drift(store.engine, {"crm": rich}) == []


def test_drift_names_the_plugin(store: Store, rich: MetaData) -> None:
    """Each difference is one line; tables of others, the router's too, are no difference."""
    plugin_tables.create(store.engine, {"crm": rich})
    with store.writing() as connection:
        for statement in (
            "DROP TABLE child",
            "DROP INDEX ix_parent_big",
            "ALTER TABLE parent DROP COLUMN big",
            "ALTER TABLE parent ADD COLUMN colour TEXT",
            "ALTER TABLE parent DROP COLUMN amount",
            "ALTER TABLE parent ADD COLUMN amount TEXT",
        ):
            connection.execute(text(statement))

    lines = plugin_tables.find_drift(store.engine, {"crm": rich, "idle": MetaData()})

    assert sorted(lines) == [
        "plugin 'crm': column parent.amount: type is TEXT() and should be "
        "Numeric(precision=10, scale=2)",
        "plugin 'crm': column parent.big is missing",
        "plugin 'crm': column parent.colour is not the plugin's",
        "plugin 'crm': index ix_parent_big is missing",
        "plugin 'crm': table child is missing",
    ]


def test_alembic_leaves_tables_of_plugins_alone(store: Store, rich: MetaData) -> None:
    """`alembic check`, run by a developer, finds nothing to do where plugins have tables."""
    plugin_tables.create(store.engine, {"crm": rich})
    environ = os.environ | {"ROUTER_DATABASE": store.engine.url.render_as_string()}

    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "No new upgrade operations detected.\n")


# SQL for hands.


def test_the_sql_for_hands_makes_the_same_tables(
    store: Store, rich: MetaData, tmp_path: Path
) -> None:
    """What is written, run by SQLite's own shell, differs in nothing from what `create` makes."""
    path = tmp_path / "by_hand.db"
    wanted = {"crm": rich, "notes": make_metadata("note", "100%")}
    shell = sqlite3.connect(path, isolation_level=None)
    shell.executescript(plugin_tables.render_sql(wanted, "sqlite"))
    shell.close()
    by_hand = sqlite.open_engine(make_url(f"sqlite:///{path}"), create=False)

    plugin_tables.require(by_hand, wanted)
    assert plugin_tables.find_drift(by_hand, wanted) == []
    by_hand.dispose()


def test_sql_is_written_for_postgresql(rich: MetaData) -> None:
    """Types of its own come before the tables that need them; schemas are those of the plugin."""
    wanted = {"crm": rich, "notes": make_metadata("note", schema="notes")}

    sql = plugin_tables.render_sql(wanted, "postgresql")

    assert sql.index("CREATE TYPE state") < sql.index("CREATE TABLE parent (")
    assert "CREATE TABLE notes.note (" in sql
    assert sql.count("BEGIN;") == sql.count("COMMIT;") == 2


# Names.


class Keeper:
    """A plugin with these tables."""

    def __init__(self, name: str, metadata: object) -> None:
        self.plugin_name = name
        self.metadata = metadata

    @hookimpl
    def tables(self) -> object:
        """Whatever it was given."""
        return self.metadata


def load(*plugins: object, prefix: str = "", schema: str | None = None) -> Host:
    """Return a host with just these plugins."""
    own = make_tables(prefix=prefix, schema=schema)
    return Host.load(plugins=plugins, entry_points=(), own=own)


@pytest.mark.parametrize(
    ("prefix", "schema", "name"),
    [
        ("", None, "event"),
        ("", None, "Event"),
        ("", "main", "event"),
        ("", None, "router_schema_version"),
        ("", None, "event_payload"),
        ("log_", None, "log_event"),
        ("log_", None, "log_router_schema_version"),
    ],
)
def test_the_routers_own_names_are_taken(prefix: str, schema: str | None, name: str) -> None:
    """A plugin whose table would be one of the router's own, however it is written, is broken."""
    host = load(Keeper("crm", make_metadata(name, schema=schema)), prefix=prefix)

    [broken] = host.broken
    assert (broken.name, host.tables()) == ("crm", {})
    assert f"{name}' would be '{name.lower()}' of the router itself" in broken.reason
    assert f"such as crm_{name.lower()}" in broken.reason


@pytest.mark.parametrize(
    ("prefix", "schema"), [("log_", None), ("", "router")], ids=["prefix", "schema"]
)
def test_a_name_that_the_router_does_not_use_is_free(prefix: str, schema: str | None) -> None:
    """Where the router's tables are elsewhere, a plugin's may be called like them."""
    host = load(Keeper("crm", make_metadata("event")), prefix=prefix, schema=schema)

    assert host.broken == []
    assert list(host.tables()) == ["crm"]


def test_two_plugins_share_no_table() -> None:
    """The second that wants a table of the same name is broken, and both are named."""
    host = load(Keeper("crm", make_metadata("note")), Keeper("sales", make_metadata("a", "note")))

    assert list(host.tables()) == ["crm"]
    assert [(one.name, one.reason) for one in host.broken] == [
        ("sales", "its table 'note' is kept by plugin 'crm' already: give it another name")
    ]


def test_a_host_that_is_handed_over_is_checked_again(database: str) -> None:
    """A host that was loaded for other names than the router's is refused by the router."""
    host = load(Keeper("crm", make_metadata("log_event")))

    with pytest.raises(PluginError, match=r"plugin 'crm': its table 'log_event' would be"):
        Router(database, plugins=host, table_prefix="log_")


def test_a_plugin_that_does_not_run_is_not_asked() -> None:
    """What comes with the router and is not wanted needs no tables."""
    assert load(Model()).tables().keys() == {"model"}
    turned_off = {"model": {"enabled": False}}
    assert Host.load(plugins=[Model()], entry_points=(), configured=turned_off).tables() == {}


# A router.


@in_loop
async def test_a_router_does_not_start_without_the_tables(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It says whose table is missing and what to do, before any plugin starts; then it starts."""
    started = []

    class Starting(Model):
        @hookimpl
        def on_start(self) -> None:
            started.append("on_start")

    router = Router(database, plugins=[Starting()], delivers=False)
    reason = r"lacks the table model_count of plugin 'model'; .*`router db upgrade`.*create_tables"
    with pytest.raises(SchemaError, match=reason):
        await router.__aenter__()
    assert started == []

    with caplog.at_level(logging.INFO, logger="router"):
        await asyncio.to_thread(router.create_tables)
    assert caplog.messages == ["created table model_count of plugin model"]
    async with router:
        assert started == ["on_start"]


def test_a_router_creates_its_own_tables_first(tmp_path: Path) -> None:
    """In code, under a prefix, they are made though a plugin is broken, which is told."""
    database = f"sqlite:///{tmp_path / 'new.db'}"
    Store(database, create=True).engine.connect().close()
    broken = Keeper("crm", [make_metadata("note")])

    with pytest.raises(PluginError, match=r"plugin 'crm': tables\(\) must return a MetaData"):
        Router(database, plugins=[broken, Model()], table_prefix="log_").create_tables()

    store = Store(database, table_prefix="log_")
    store.require_current()
    assert names(store) == ["model_count"]
    store.close()


@in_loop
async def test_a_plugin_keeps_its_table_up_to_date(database: str) -> None:
    """What a handler writes is there once for each event, over failed attempts and a restart."""
    model = Model()
    router = Router(database, sources=[StubSource()], plugins=[model])
    await asyncio.to_thread(router.create_tables)

    def counted() -> list[tuple[str, int]]:
        with router.log.store.reading() as connection:
            rows = connection.execute(select(model.table.c.subject, model.table.c.messages))
            return [(row.subject, row.messages) for row in rows]

    for numbers in (range(3), range(3, 5)):
        async with router:
            for number in numbers:
                body = as_body({"messages": [text_message(number)]})
                assert (await ask(router.asgi(), "/webhooks/wa", body=body)).status == 200
            await until(lambda: counted() == [(":ana", numbers.stop)])  # noqa: B023 - ends here
