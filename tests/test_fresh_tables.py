"""Tests of `router.fresh_tables`: a plugin's tables under other names, and the change of names."""

import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    column,
    inspect,
    select,
)
from sqlalchemy import table as sql_table
from sqlalchemy.exc import IntegrityError

from router import fresh_tables, plugin_tables
from router.fresh_tables import find_obstacle, make_renaming, name_fresh
from router.store import Store

NAMES = name_fresh(["model", "model_count"], 7)


@pytest.fixture
def metadata(store: Store) -> MetaData:
    """Two tables with indexes, which are there."""
    metadata = MetaData(naming_convention={"ix": "ix_%(column_0_label)s"})
    columns = Column("id", Integer, primary_key=True), Column("subject", Text, index=True)
    Table("model", metadata, *columns, Index("by_both", "subject", "id", unique=True))
    Table("model_count", metadata, Column("n", Integer, primary_key=True))
    plugin_tables.create(store.engine, {"model": metadata})
    return metadata


def indexes_of(connection: Connection, table: str) -> dict[str, list[str | None]]:
    """The columns of each index."""
    found = inspect(connection).get_indexes(table)
    return {str(one["name"]): one["column_names"] for one in found}


def read(connection: Connection, table: str) -> list[int]:
    """The ids in a table."""
    return list(connection.scalars(select(column("id")).select_from(sql_table(table))))


def drop(store: Store, *, is_old: bool) -> int:
    """Drop what is not wanted any more, and return how many transactions that took."""
    transactions, is_over = 0, False
    while not is_over:
        with store.writing() as connection:
            is_over = fresh_tables.drop_some(connection, NAMES, is_old=is_old)
        transactions += 1
    return transactions


@pytest.mark.parametrize(
    ("statement", "renamed"),
    [
        ("SELECT id FROM model", "SELECT id FROM model__7"),
        ('INSERT INTO "model" (id) VALUES (?)', 'INSERT INTO "model__7" (id) VALUES (?)'),
        ("select MODEL.id from Model", "select model__7.id from model__7"),
        ("DELETE FROM model_count", "DELETE FROM model_count__7"),
        ("SELECT model_id, models FROM other", "SELECT model_id, models FROM other"),
        ("SELECT 'model', 'it''s model' FROM model", "SELECT 'model', 'it''s model' FROM model__7"),
        ("-- model\nDELETE FROM model", "-- model\nDELETE FROM model__7"),
        ("/* model\nmodel */ SELECT 1", "/* model\nmodel */ SELECT 1"),
        (
            'SELECT 1 AS "it\'s", 2 AS "a--b" FROM model',
            'SELECT 1 AS "it\'s", 2 AS "a--b" FROM model__7',
        ),
        (
            'SELECT "the model" FROM [model], `model`',
            'SELECT "the model" FROM [model__7], `model__7`',
        ),
        ("SELECT :model, %(model)s FROM model", "SELECT :model, %(model)s FROM model__7"),
    ],
)
def test_statements_are_about_the_fresh_tables(statement: str, renamed: str) -> None:
    """Names of tables are put in the place of others; texts, comments and longer names are not."""
    assert make_renaming(NAMES)(statement) == renamed


def test_fresh_tables_are_like_the_others(store: Store, metadata: MetaData) -> None:
    """They have the same columns and indexes, under names of their own; made twice, once."""
    for _ in range(2):
        with store.writing() as connection:
            fresh_tables.create(connection, metadata, NAMES)
    with store.reading() as connection:
        assert indexes_of(connection, "model__7") == {
            "ix_model_subject__7": ["subject"],
            "by_both__7": ["subject", "id"],
        }
        columns = [one["name"] for one in inspect(connection).get_columns("model__7")]
    assert columns == ["id", "subject"]


def test_they_take_the_place_of_the_old_ones(store: Store, metadata: MetaData) -> None:
    """What was filled is there under the name, for views too; the rest goes when it is told to."""
    with store.writing() as connection:
        connection.exec_driver_sql("CREATE VIEW looking AS SELECT id FROM model")
        connection.exec_driver_sql("INSERT INTO model VALUES (1, 'old')")
        fresh_tables.create(connection, metadata, NAMES)
        connection.exec_driver_sql("INSERT INTO model__7 VALUES (2, 'new')")
    with store.writing() as connection:
        fresh_tables.put_in_place(connection, NAMES)
    with store.reading() as connection:
        assert read(connection, "model") == read(connection, "looking") == [2]
    drop(store, is_old=True)
    with store.reading() as connection:
        left = [one for one in inspect(connection).get_table_names() if one.startswith("model")]
    assert left == ["model", "model_count"]
    assert plugin_tables.find_drift(store.engine, {"model": metadata}) == []


def test_a_change_of_names_can_be_taken_back(store: Store, metadata: MetaData) -> None:
    """It is part of its transaction."""

    def change() -> None:
        with store.writing() as connection:
            fresh_tables.create(connection, metadata, NAMES)
            connection.exec_driver_sql("INSERT INTO model VALUES (1, 'old')")
            fresh_tables.put_in_place(connection, NAMES)
            raise ValueError("it came to nothing")

    with pytest.raises(ValueError, match="came to nothing"):
        change()
    with store.reading() as connection:
        assert read(connection, "model") == []
        assert not inspect(connection).has_table("model__7")


def test_what_came_to_nothing_is_dropped(store: Store, metadata: MetaData) -> None:
    """The fresh tables go, if they are there, on SQLite some rows at a time; the others stay."""
    assert drop(store, is_old=False) == 1
    with store.writing() as connection:
        fresh_tables.create(connection, metadata, NAMES)
        rows = [{"id": number, "subject": "x"} for number in range(fresh_tables.ROWS + 1)]
        table = Table("model__7", MetaData(), autoload_with=connection)
        connection.execute(table.insert(), rows)
    assert drop(store, is_old=False) == (2 if store.engine.dialect.name == "sqlite" else 1)
    with store.reading() as connection:
        assert inspect(connection).has_table("model")
        assert not inspect(connection).has_table("model__7")


def test_an_old_table_that_is_gone_is_not_missed(store: Store, metadata: MetaData) -> None:
    """Somebody may have dropped it, since nobody read it: the fresh one takes the place."""
    with store.writing() as connection:
        fresh_tables.create(connection, metadata, NAMES)
        connection.exec_driver_sql("DROP TABLE model")
        fresh_tables.put_in_place(connection, NAMES)
    with store.reading() as connection:
        assert read(connection, "model") == []


def test_what_stands_in_the_way_is_named(metadata: MetaData) -> None:
    """Foreign keys, schemas and columns that are called like a table."""
    assert find_obstacle(metadata) is None
    Table("a", first := MetaData(), Column("id", Integer, primary_key=True))
    Table("b", first, Column("a_id", ForeignKey("a.id")))
    assert "its table 'b' has a foreign key" in str(find_obstacle(first))
    Table("a", second := MetaData(), Column("A", Integer))
    assert "its column a.A has the name of a table" in str(find_obstacle(second))
    Table("a", third := MetaData(schema="x"), Column("id", Integer))
    Table("a", fourth := MetaData(), Column("id", Integer), Index("i" * 51, "id"))
    assert "leaves no room for the number of a rebuild" in str(find_obstacle(fourth))
    Table("t" * 51, fifth := MetaData(), Column("id", Integer))
    assert "leaves no room for the number of a rebuild" in str(find_obstacle(fifth))
    assert "its table 'a' has a schema" in str(find_obstacle(third))


def test_named_keys_are_carried_over(store: Store) -> None:
    """Keys and checks that have names, or numbers of their own, are there in the fresh tables."""
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
    Table(
        "model",
        metadata,
        Column("id", Integer, Identity(), primary_key=True),
        Column("subject", Text, CheckConstraint("subject <> ''", name="no_empty")),
        Column("other", Text, unique=True),
        UniqueConstraint("subject", "other", name="both"),
    )
    names = name_fresh(["model"], 7)
    plugin_tables.create(store.engine, {"model": metadata})
    with store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO model (subject, other) VALUES ('a', 'old')")
        fresh_tables.create(connection, metadata, names)
        for other in ("x", "y"):
            connection.exec_driver_sql(
                f"INSERT INTO model__7 (subject, other) VALUES ('a', '{other}')"  # noqa: S608
            )
        fresh_tables.put_in_place(connection, names)
    while not fresh_tables_are_gone(store, names):
        pass
    assert plugin_tables.find_drift(store.engine, {"model": metadata}) == []
    for values in ("('', 'z')", "('b', 'x')", "('a', 'x')"):
        with pytest.raises(IntegrityError), store.writing() as connection:
            connection.exec_driver_sql(f"INSERT INTO model (subject, other) VALUES {values}")  # noqa: S608
    with store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO model (subject, other) VALUES ('a', 'z')")
        assert read(connection, "model") == [1, 2, read(connection, "model")[-1]]


def fresh_tables_are_gone(store: Store, names: fresh_tables.Names) -> bool:
    """Do away with some of the old tables; whether that was the last."""
    with store.writing() as connection:
        return fresh_tables.drop_some(connection, names, is_old=True)
