"""How alembic runs the revisions: for `router.migrate`, and for a developer's `alembic` command.

`router.migrate` hands over ``tables`` and either ``connection`` or ``dialect_name``, as attributes
of the configuration. A developer has none of them: then ROUTER_DATABASE names the database. Nor
has a host whose configuration has a section for the router: it may name ``sqlalchemy.url``,
``schema`` and ``table_prefix`` there.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Literal

from alembic import context
from alembic.operations import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, make_url
from sqlalchemy.schema import CreateSchema

from router.schema import LOCKS, Tables, make_tables

Parent = Literal["schema_name", "table_name", "schema_qualified_table_name"]


def run() -> None:
    """Do what the command asks, on whatever was handed over."""
    attributes = context.config.attributes
    tables: Tables = attributes.get("tables") or make_tables(
        schema=_find_option("schema") or None, prefix=_find_option("table_prefix")
    )
    named = os.environ.get("ROUTER_DATABASE", "sqlite:///router.db")
    url = make_url(_find_option("sqlalchemy.url") or named)
    if context.is_offline_mode():
        _write_sql(attributes.get("dialect_name") or url.get_backend_name(), tables)
    elif (connection := attributes.get("connection")) is not None:
        _run_on(connection, tables)
    else:
        engine = create_engine(url)
        with engine.connect() as connection:
            _run_on(connection, tables)
            connection.commit()
        engine.dispose()


def _find_option(name: str) -> str:
    """Return what the section that is used says of it; empty where it says nothing."""
    config = context.config
    return config.file_config.get(config.config_ini_section, name, fallback="")


def _run_on(connection: Connection, tables: Tables) -> None:
    if not connection.in_transaction():
        connection.exec_driver_sql(LOCKS[connection.dialect.name])
        # Asked before: to say IF NOT EXISTS one needs the right to make schemas.
        if tables.schema is not None and not inspect(connection).has_schema(tables.schema):
            connection.execute(CreateSchema(tables.schema))
    _configure(tables, connection=connection)
    context.run_migrations()


def _write_sql(dialect_name: str, tables: Tables) -> None:
    _configure(tables, dialect_name=dialect_name)
    with context.begin_transaction():
        if tables.schema is not None:
            context.execute(CreateSchema(tables.schema, if_not_exists=True))
        context.run_migrations()


def _configure(
    tables: Tables, *, connection: Connection | None = None, dialect_name: str | None = None
) -> None:
    ours = {table.name for table in tables.metadata.tables.values()}

    def is_ours(name: str | None, kind: str, _parents: Mapping[Parent, str | None]) -> bool:
        """Whether alembic may look: the tables of a host or of a plugin are no business of ours."""
        if kind == "schema":
            return name == tables.schema
        return kind != "table" or name in ours

    context.configure(
        connection=connection,
        dialect_name=dialect_name,
        dialect_opts={"paramstyle": "named"},  # the drivers' own would double each % of the view
        literal_binds=connection is None,
        transactional_ddl=True,
        target_metadata=tables.metadata,
        version_table=tables.version,
        version_table_schema=tables.schema,
        include_name=is_ours,
        include_schemas=tables.schema is not None,
        compare_server_default=True,
        process_revision_directives=_number,
        # For the revisions, which do not import the tables of today.
        schema=tables.schema,
        table_prefix=tables.prefix,
    )


def _number(
    _context: MigrationContext,
    _revision: str | Iterable[str | None] | Iterable[str],
    scripts: list[MigrationScript],
) -> None:
    """Give a new revision the next number."""
    head = ScriptDirectory.from_config(context.config).get_current_head()
    scripts[0].rev_id = f"{int(head or 0) + 1:04d}"


run()
