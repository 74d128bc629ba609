"""Tests of `router.lending`: a lent connection does everything but end its transaction."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection

from router.fresh_tables import make_renaming
from router.lending import SAVEPOINT, Lent
from router.store import Store

INSERT = "INSERT INTO alias VALUES ('', '{}', '')"


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    """A connection in the middle of a transaction, with the savepoint of an event."""
    with store.writing() as connection:
        connection.exec_driver_sql(INSERT.format("earlier"))
        connection.exec_driver_sql(f"SAVEPOINT {SAVEPOINT}")
        yield connection


def effects(connection: Connection) -> list[str]:
    """Return what the transaction has written so far."""
    return list(connection.exec_driver_sql("SELECT contact FROM alias ORDER BY 1").scalars())


@pytest.mark.parametrize(
    "end",
    [Connection.commit, Connection.rollback, Connection.close, Connection.invalidate],
    ids=lambda end: end.__name__,
)
def test_no_method_ends_the_transaction(
    connection: Connection, end: Callable[[Connection], None]
) -> None:
    """What a handler might call is refused, and changes nothing."""
    refused = pytest.raises(RuntimeError, match="the router ends this transaction")
    with Lent(connection) as lent, lent.lending(), refused:
        getattr(connection, end.__name__)()
    assert effects(connection) == ["earlier"]
    assert connection.in_transaction()


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "commit transaction",
        " \n\tEnd",
        "ABORT",
        "BEGIN IMMEDIATE",
        "ROLLBACK",
        "rollback;",
        "ROLLBACK TRANSACTION",
        "-- then\nROLLBACK",
        "/* a; b */ end",
        "/* one *//* two */ -- three\n COMMIT",
        "RELEASE router_event",
        "RELEASE SAVEPOINT ROUTER_EVENT",
        "ROLLBACK TO router_event",
        'ROLLBACK TRANSACTION TO SAVEPOINT "router_event"',
        "SAVEPOINT router_event",
        "START TRANSACTION",
        "PREPARE TRANSACTION 'later'",
        "SELECT 1; COMMIT",
        "SELECT ';', $$;$$ AS \";\"; /* ; */\n ROLLBACK; BEGIN",
    ],
)
def test_no_statement_ends_the_transaction(connection: Connection, statement: str) -> None:
    """Nor the savepoint of the event; in whatever letters, and behind whatever comments."""
    with Lent(connection) as lent, lent.lending():
        connection.exec_driver_sql(INSERT.format("mine"))
        with pytest.raises(RuntimeError, match="the router ends this transaction"):
            connection.exec_driver_sql(statement)
        assert effects(connection) == ["earlier", "mine"]
    connection.exec_driver_sql(f"ROLLBACK TO {SAVEPOINT}")
    assert effects(connection) == ["earlier"]


def test_a_handler_has_savepoints_of_its_own(connection: Connection) -> None:
    """It may take back a part of what it wrote, by SQLAlchemy's means and by its own."""
    with Lent(connection) as lent, lent.lending():
        with connection.begin_nested() as inner:
            connection.exec_driver_sql(INSERT.format("nested"))
            inner.rollback()
        with connection.begin_nested():
            connection.exec_driver_sql(INSERT.format("kept"))
        connection.exec_driver_sql("SAVEPOINT mine")
        connection.exec_driver_sql(INSERT.format("mine"))
        connection.exec_driver_sql("ROLLBACK TO mine")
        connection.exec_driver_sql("RELEASE mine")
    assert effects(connection) == ["earlier", "kept"]


@pytest.mark.parametrize("text", ["commit", "rollback", "end", "/* */ COMMIT", "1; COMMIT"])
def test_what_is_only_written_of_is_let_through(connection: Connection, text: str) -> None:
    """A statement is judged by what it does, not by what it holds."""
    with Lent(connection) as lent, lent.lending():
        connection.exec_driver_sql(INSERT.format(text))
        connection.exec_driver_sql("SELECT contact AS endless FROM alias -- commit").all()
    assert effects(connection) == sorted(["earlier", text])


def test_only_a_handler_is_refused(connection: Connection) -> None:
    """Before and after a handler is called its savepoint may be ended, by whoever made it."""
    with Lent(connection) as lent:
        with lent.lending():
            connection.exec_driver_sql(INSERT.format("mine"))
        connection.exec_driver_sql(f"ROLLBACK TO {SAVEPOINT}")
        connection.exec_driver_sql(f"RELEASE {SAVEPOINT}")
    assert effects(connection) == ["earlier"]


def test_a_handler_that_fails_has_no_right_left(connection: Connection) -> None:
    """An error that leaves the handler ends the refusals, too."""
    with Lent(connection) as lent:
        with pytest.raises(ValueError, match="busy"), lent.lending():
            raise ValueError("busy")
        connection.exec_driver_sql(f"RELEASE {SAVEPOINT}")


def test_the_connection_is_given_back_as_it_was(store: Store) -> None:
    """Afterwards it refuses nothing any more, whoever lent it: it goes back to its pool."""
    with store.engine.connect() as connection:
        with pytest.raises(ValueError, match="busy"), Lent(connection) as lent:
            raise ValueError("busy")
        with lent.lending():
            connection.exec_driver_sql(INSERT.format("mine"))
            connection.exec_driver_sql(f"SAVEPOINT {SAVEPOINT}")
            connection.exec_driver_sql(f"RELEASE {SAVEPOINT}")
        connection.commit()
        assert effects(connection) == ["mine"]
        connection.rollback()


def test_statements_of_handlers_are_about_other_tables(connection: Connection) -> None:
    """Where tables have other names, those of handlers are changed; the router's own are not."""
    connection.exec_driver_sql("CREATE TABLE alias__7 AS SELECT * FROM alias")
    renames = {"alias": "alias__7"}
    with Lent(connection, rename=make_renaming(renames)) as lent:
        with lent.lending():
            connection.exec_driver_sql(INSERT.format("replayed"))
            inside = effects(connection)
        connection.exec_driver_sql(INSERT.format("live"))
    assert inside == ["earlier", "replayed"]
    assert effects(connection) == ["earlier", "live"]
