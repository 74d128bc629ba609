"""Tests of `router.dependents`: what hangs on a plugin's tables in PostgreSQL, in a rebuild."""

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, inspect

from router import dependents, fresh_tables, plugin_tables
from router.errors import RouterError, Unavailable
from router.fresh_tables import name_fresh
from router.store import Store
from tests import databases

METADATA = MetaData()
Table("model", METADATA, Column("id", Integer, primary_key=True), Column("subject", Text))
NAMES = name_fresh(["model"], 7)
ROLE = "router_test_reader"


@pytest.fixture
def database(postgres_database: str) -> str:
    """The URL of an empty log on PostgreSQL: what is tested is its own."""
    databases.reset(postgres_database)
    return postgres_database


@pytest.fixture
def role(store: Store) -> Iterator[str]:
    """A role that is not ours."""
    run(store, f"DROP ROLE IF EXISTS {ROLE}", f"CREATE ROLE {ROLE}")
    yield ROLE
    run(store, f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


@pytest.fixture
def model(store: Store) -> Iterator[Store]:
    """A store with a plugin's table."""
    plugin_tables.create(store.engine, {"model": METADATA})
    yield store
    run(store, "DROP TABLE IF EXISTS model, model__7, model__7_old CASCADE")


def run(store: Store, *statements: str) -> None:
    """Change the database."""
    with store.writing() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def switch(store: Store) -> None:
    """Put a fresh table with one row in the place of the old one."""
    with store.writing() as connection:
        fresh_tables.create(connection, METADATA, NAMES)
        connection.exec_driver_sql("DELETE FROM model__7")
        connection.exec_driver_sql("INSERT INTO model__7 VALUES (2, 'new')")
    with store.writing() as connection:
        fresh_tables.put_in_place(connection, NAMES)


def hindrance(store: Store) -> str:
    """Return what stands in the way."""
    with store.reading() as connection:
        return str(dependents.find_hindrance(connection, ["model"]))


def ask(store: Store, question: str) -> object:
    """Return what the server answers."""
    with store.reading() as connection:
        return connection.exec_driver_sql(question).scalar_one()


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE MATERIALIZED VIEW m AS SELECT id FROM model"], "the materialized view 'm'"),
        (
            [
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
                "CREATE TRIGGER t AFTER INSERT ON model EXECUTE FUNCTION f()",
            ],
            "has the trigger 't'",
        ),
        (["CREATE RULE r AS ON DELETE TO model DO INSTEAD NOTHING"], "has the rule 'r'"),
        (
            ["CREATE TABLE other (model_id integer CONSTRAINT fk REFERENCES model (id))"],
            "the foreign key 'fk' points to",
        ),
        (["ALTER TABLE model ENABLE ROW LEVEL SECURITY"], "has row-level security"),
        (["CREATE PUBLICATION p FOR TABLE model"], "is published by 'p'"),
        (["CREATE TABLE part () INHERITS (model)"], "has a part or is one"),
    ],
)
def test_what_a_fresh_table_cannot_have_is_named(
    model: Store, statements: list[str], said: str
) -> None:
    """It is found before a rebuild begins, and what came meanwhile keeps the switch from it."""
    assert hindrance(model) == "None"
    run(model, *statements)
    assert said in hindrance(model)
    assert "its table 'model'" in hindrance(model)
    with pytest.raises(RouterError, match="its table 'model'"):
        switch(model)
    with model.reading() as connection:
        assert not inspect(connection).has_table("model__7_old")
    run(
        model,
        *("DROP PUBLICATION IF EXISTS p", "DROP MATERIALIZED VIEW IF EXISTS m"),
        *("DROP TABLE IF EXISTS part, other", "DROP FUNCTION IF EXISTS f() CASCADE"),
    )


def test_views_go_on_with_the_fresh_table(model: Store, role: str) -> None:
    """They keep their options and who may read them, and so do those that read them in turn."""
    run(
        model,
        "INSERT INTO model VALUES (1, 'old')",
        'CREATE VIEW "a view" WITH (security_barrier=true) AS SELECT subject AS s FROM model',
        'CREATE VIEW above AS SELECT s FROM "a view"',
        f'GRANT SELECT ON "a view" TO {role}',
    )
    switch(model)
    assert ask(model, "SELECT string_agg(s, ',') FROM above") == "new"
    assert ask(model, f"SELECT has_table_privilege('{role}', '\"a view\"', 'SELECT')") is True
    options = "SELECT reloptions FROM pg_class WHERE relname = 'a view'"
    assert ask(model, options) == ["security_barrier=true"]
    with model.writing() as connection:
        assert fresh_tables.drop_some(connection, NAMES, is_old=True)
    run(model, "DROP VIEW above", 'DROP VIEW "a view"')


def test_rights_are_the_same_on_the_fresh_table(model: Store, role: str) -> None:
    """Whoever could read or change the old table, or a column of it, can do so with the new one."""
    run(
        model,
        f"GRANT INSERT ON model TO {role} WITH GRANT OPTION",
        f"GRANT SELECT (subject) ON model TO {role}",
        "GRANT DELETE ON model TO PUBLIC",
    )
    switch(model)
    may = f"SELECT has_table_privilege('{role}', 'model', '{{}}')"
    assert ask(model, may.format("INSERT WITH GRANT OPTION")) is True
    assert ask(model, may.format("DELETE")) is True
    assert ask(model, may.format("UPDATE")) is False
    assert ask(model, may.format("SELECT")) is False
    column = f"SELECT has_column_privilege('{role}', 'model', 'subject', 'SELECT')"
    assert ask(model, column) is True


def test_the_owner_stays_the_same(model: Store, role: str) -> None:
    """A table that was given to another role of ours is that role's afterwards."""
    run(model, f"ALTER TABLE model OWNER TO {role}")
    switch(model)
    owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'model'"
    assert ask(model, owner) == role
    run(model, "DROP TABLE model")


def read_open(store: Store) -> Connection:
    """Return a connection that has begun to read the table, and is in no hurry."""
    connection = store.engine.connect()
    connection.exec_driver_sql("SELECT * FROM model").all()
    return connection


def test_a_switch_does_not_wait_for_long(model: Store) -> None:
    """While a reader holds the table the switch gives up, and comes right afterwards."""
    reader = read_open(model)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="lock timeout"):
        switch(model)
    assert time.monotonic() - began < 60, "it would wait for the reader"
    assert reader.exec_driver_sql("SELECT count(*) FROM model").scalar_one() == 0
    reader.close()
    switch(model)
    assert ask(model, "SELECT count(*) FROM model") == 1


def test_old_tables_wait_for_their_readers(model: Store) -> None:
    """One that is still read is dropped later, and holds up nobody meanwhile."""
    switch(model)
    old = model.engine.connect()
    old.exec_driver_sql("SELECT * FROM model__7_old").all()
    with pytest.raises(Unavailable, match="lock timeout"), model.writing() as connection:
        fresh_tables.drop_some(connection, NAMES, is_old=True)
    old.close()
    with model.writing() as connection:
        assert fresh_tables.drop_some(connection, NAMES, is_old=True)


def test_readers_see_one_table_or_the_other(model: Store) -> None:
    """However a reader and a switch meet, it finds the whole of one of them, never nothing."""
    run(model, "INSERT INTO model VALUES (1, 'old')")
    seen: set[object] = set()
    over = threading.Event()

    def read_on() -> None:
        while not over.is_set():
            seen.add(ask(model, "SELECT string_agg(subject, ',') FROM model"))

    thread = threading.Thread(target=read_on)
    thread.start()
    while not seen:
        time.sleep(0.001)
    switch(model)
    over.set()
    thread.join()
    seen.add(ask(model, "SELECT string_agg(subject, ',') FROM model"))
    assert seen == {"old", "new"}


def test_the_server_knows_what_is_in_the_fresh_table(model: Store) -> None:
    """Plans are made for the rows that are there, not as if there were none."""
    switch(model)
    with model.writing() as connection:
        fresh_tables.take_stock(connection, NAMES)
    assert ask(model, "SELECT reltuples FROM pg_class WHERE relname = 'model'") == 1
