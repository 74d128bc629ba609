"""Tests of `router.places`: an event goes into no database but the log's."""

import re
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select

from router import Router, migrate, postgresql
from router.errors import StoreError
from router.places import Place
from tests.embedding.hosts import append, make_engine


@pytest.mark.parametrize("has_log", [True, False], ids=["log", "no log"])
def test_a_connection_to_another_database_is_refused(
    router: Router, shop_url: str, *, has_log: bool
) -> None:
    """Be there a log or not: both databases are named, each time."""
    other = make_engine(shop_url)
    theirs, ours = (re.escape(str(one.url.database)) for one in (other, router.log.store.engine))
    if has_log:
        with other.begin() as connection:
            migrate.upgrade_on(connection, router.log.store.tables, revision="head")
    for _ in range(2):
        with other.begin() as connection:
            words = rf"connection is on the .*{theirs}.* the log is on the .*{ours}"
            with pytest.raises(StoreError, match=words):
                append(router, "ana", connection=connection)
    if has_log:
        with other.connect() as connection:
            assert connection.scalars(select(router.log.store.tables.head.c.position)).one() == 0
    other.dispose()


@pytest.mark.engines("sqlite")
def test_a_file_is_known_by_any_path(router: Router, host: Engine, tmp_path: Path) -> None:
    """A host may reach the log's file by a link to its folder."""
    file = Path(str(host.url.database))
    (tmp_path / "linked").symlink_to(file.parent)
    linked = make_engine(f"sqlite:///{tmp_path / 'linked' / file.name}")
    with linked.begin() as connection:
        assert append(router, "ana", connection=connection).positions == (1,)
    linked.dispose()


def test_a_pool_is_asked_once(router: Router, host: Engine) -> None:
    """Every append but the first costs no more ways to the server because of it."""
    asked: list[str] = []
    event.listen(host, "before_cursor_execute", lambda *what: asked.append(what[2]))
    for name in ("ana", "ben"):
        with host.begin() as connection:
            append(router, name, connection=connection)
    assert sum("database_list" in one or "current_database" in one for one in asked) == 1


@pytest.mark.engines("postgresql")
def test_a_server_may_keep_its_number_to_itself(host: Engine) -> None:
    """Where a role may not ask for it the name has to do, and the transaction goes on."""
    with host.connect() as connection:
        full = postgresql.find_place(connection)
        for statement in (
            "CREATE ROLE stranger",
            "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
            "SET LOCAL ROLE stranger",
        ):
            connection.exec_driver_sql(statement)
        bare = postgresql.find_place(connection)
        connection.rollback()
    assert bare.marks == (host.url.database, None)
    assert None not in full.marks
    assert bare.may_be(full)
    assert full.may_be(bare)


def test_places_are_told_apart_by_any_mark() -> None:
    """Two servers may have databases of one name."""
    place = Place("a", ("shop", "1"))
    assert place.may_be(Place("b", ("shop", "1")))
    assert not place.may_be(Place("b", ("shop", "2")))
    assert not place.may_be(Place("b", ("other", None)))
