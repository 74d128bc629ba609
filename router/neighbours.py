"""What a host's own alembic is told, to live beside the router's tables in one database."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.schema import CreateSchema

from router import assembly, migrate, sqlite
from router.errors import SchemaError
from router.host import Host
from router.schema import LOCKS, make_tables

Parent = Literal["schema_name", "table_name", "schema_qualified_table_name"]
Look = Callable[[str | None, str, Mapping[Parent, str | None]], bool]

_DEFAULTS = ("main", "public")  # of SQLite and PostgreSQL: alembic has no name for them
_REBUILT = r"(__\d+(_old)?)?"  # stands behind the names of tables that a rebuild fills or has left


def pass_over(
    *, schema: str | None = None, table_prefix: str = "", plugins: Sequence[object] | Host = ()
) -> Look:
    """Return an ``include_name`` for alembic's ``context.configure`` in a host's `env.py`.

    With it neither ``alembic check`` nor ``--autogenerate`` looks at a table of the router's, which
    they would otherwise want to drop.

    Args:
        schema: As the router has it.
        table_prefix: Likewise.
        plugins: Likewise; the tables that they keep are passed over, too.

    Raises:
        PluginError: A plugin has a table with the name of one of the router's.
    """
    own = make_tables(schema=schema, prefix=table_prefix)
    host = assembly.make_host(plugins, own=own)
    kept = {_place(schema, own.version), *map(_place_of, own.metadata.tables.values())}
    rebuilt = {
        (place[0], re.compile(re.escape(place[1]) + _REBUILT))
        for metadata in host.tables().values()
        for place in map(_place_of, metadata.tables.values())
    }

    def may_look(name: str | None, kind: str, parents: Mapping[Parent, str | None]) -> bool:
        if kind != "table" or name is None:
            return True
        within, _ = place = _place(parents.get("schema_name"), name)
        is_plugins = any(one == within and known.fullmatch(name) for one, known in rebuilt)
        return place not in kept and not is_plugins

    return may_look


def upgrade(
    connection: Connection | MockConnection | None,
    *,
    schema: str | None = None,
    table_prefix: str = "",
    revision: str = "head",
) -> None:
    """Bring the router's tables to ``revision``, within a migration of the host's own alembic.

    In a revision of the host's: ``neighbours.upgrade(op.get_bind(), revision="0008")``. It is a
    part of that migration's transaction, and on record in the router's own table of versions: the
    host's has nothing but its own revision.

    Args:
        connection: The one that the host's migration works on; a mock of one, or None, is what
            alembic has offline.
        schema: As the router has it.
        table_prefix: Likewise.
        revision: Name it, so that the host's revision does the same for ever.

    Raises:
        SchemaError: The tables are newer than this version, or there is no connection, or none in
            a transaction that holds all of it.
    """
    if not isinstance(connection, Connection):  # alembic has a mock of one, or None
        raise SchemaError(
            "alembic writes SQL for later and has no database, whose revision this would go by: "
            "`router db sql` writes the SQL of the router's tables"
        )
    tables = make_tables(schema=schema, prefix=table_prefix)
    if connection.dialect.name == "sqlite":  # where the host's transaction is alone as it is
        _require_transaction(connection)
    else:
        connection.exec_driver_sql(LOCKS[connection.dialect.name])
    if schema is not None and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    migrate.upgrade_on(connection, tables, revision=revision)


def _require_transaction(connection: Connection) -> None:
    connection.exec_driver_sql("SELECT 1")  # the driver's connection may not have begun before
    driver: Any = connection.connection.driver_connection
    if sqlite.is_handling(driver) or not driver.in_transaction:
        raise SchemaError(
            "on the SQLite connection a migration is no transaction, and one that fails would "
            "leave a part of its tables: in alembic's env.py take an engine that connects with "
            'connect_args={"isolation_level": None} and executes "BEGIN IMMEDIATE" in a listener '
            "for its event `begin`"
        )


def _place_of(table: Table) -> tuple[str | None, str]:
    return _place(table.schema, table.name)


def _place(schema: str | None, name: str) -> tuple[str | None, str]:
    return None if schema in _DEFAULTS else schema, name
