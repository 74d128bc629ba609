"""The page on PostgreSQL keeps its word: a server takes its SQL, its users do their work."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from router import Event, EventLog, Router, hookimpl, migrate
from router.errors import Unavailable
from router.events import Draft, Entry, Notification
from router.store import Store
from tests.clusters import Server
from tests.loops import in_loop
from tests.waiting import until

PAGES = Path(__file__).parents[1] / "docs" / "how-to"
PAGE = PAGES / "run-on-postgresql.md"
SQL = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r"\brouter_(owner|app|receiver)\b")
SCHEMA = "router"


class Site:
    """A database as the page makes it, under a name that no other test uses.

    Args:
        server: Where.
        name: Of the database; the names of the roles begin with it.
    """

    def __init__(self, server: Server, name: str) -> None:
        self.name = name
        self._server = server

    def url(self, role: str) -> str:
        """The URL by which a role of the page connects."""
        url = make_url(self._server.url(self.name))
        return url.set(username=f"{self.name}_{role}", password="change-me").render_as_string(
            hide_password=False
        )

    def run(self, text: str) -> None:
        """Have the server's owner run statements, each by itself."""
        text = ROLE.sub(rf"{self.name}_\1", re.sub(r"\bevents\b", self.name, text))
        text = re.sub(r"'change-me[a-z-]*'", "'change-me'", text)
        database = "postgres" if "CREATE DATABASE" in text else self.name
        url = make_url(self._server.url(database)).set(drivername="postgresql")
        dsn = url.render_as_string(hide_password=False)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in filter(str.strip, text.split(";\n")):
                connection.execute(statement.encode())

    def upgrade(self) -> None:
        """Make the tables, as their owner."""
        store = Store(self.url("owner"), schema=SCHEMA)
        migrate.upgrade(store.engine, store.tables)
        store.close()


@pytest.fixture
def site(postgres: Server) -> Iterator[Site]:
    """The database after all SQL of the page was run in its order, and `router db upgrade`."""
    name = postgres.make()
    postgres.drop(name)  # a name that is free is wanted; the page makes the database
    site = Site(postgres, name)
    for block in SQL.findall(PAGE.read_text("utf-8")):
        site.run(block)
        if "CREATE SCHEMA" in block:
            site.upgrade()
    yield site
    postgres.drop(name)
    names = ", ".join(f"{name}_{role}" for role in ("owner", "app", "receiver"))
    url = make_url(postgres.url("postgres")).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f"DROP ROLE {names}".encode())


def append(log: EventLog) -> None:
    """Append one message."""
    notification = Notification("wa", datetime.now(UTC), {}, b'{"text":"Hello"}')
    draft = Draft(path="$", type="message", subtype="text", channel="42", conversation="1")
    log.append([Entry(notification, [draft])])


def test_no_other_page_shows_sql() -> None:
    """What is shown as SQL is tried here, or in `test_docs_tracing`."""
    pages = {page for page in PAGES.glob("*.md") if SQL.search(page.read_text("utf-8"))}
    assert pages == {PAGE, PAGES / "tracing.md"}


@in_loop
async def test_each_user_can_do_its_work_and_no_more(site: Site) -> None:
    """A receiver appends and cannot read; a worker delivers and cannot change the tables."""
    receiver = EventLog(site.url("receiver"), schema=SCHEMA)
    receiver.store.require_current()
    append(receiver)
    with pytest.raises(Unavailable, match="permission denied"):
        list(receiver.read())
    receiver.store.close()

    seen: list[Event] = []

    class Plugin:
        @hookimpl
        def subscription_options(self) -> dict[str, object]:
            return {"start": "beginning"}

        @hookimpl
        def on_message(self, event: Event) -> None:
            seen.append(event)

    router = Router(site.url("app"), plugins=[Plugin()], schema=SCHEMA, receives=False)
    async with router:
        await until(lambda: [event.subject for event in seen] == ["42:1"])

    with (
        psycopg.connect(site.url("app").replace("+psycopg", "")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("ALTER TABLE router.head ADD COLUMN x int")
