"""The tables that plugins keep beside the log: created, compared and asked for, never changed."""

import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from sqlalchemy import (
    Connection,
    Engine,
    ExecutableDDLElement,
    MetaData,
    Table,
    create_mock_engine,
    inspect,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from router import migrate
from router.errors import PluginError, SchemaError
from router.fresh_tables import is_same_index
from router.schema import LOCKS, Tables

logger = logging.getLogger(__name__)

Wanted = Mapping[str, MetaData]  # by the name of the plugin that wants them
Place = tuple[str | None, str]  # schema and name, as far as an engine tells them apart

_DEFAULT_SCHEMAS = ("main", "public")  # of SQLite and PostgreSQL: the same as none


def require_apart(plugin: str, metadata: MetaData, *, own: Tables, others: Wanted) -> None:
    """Return when no table of ``plugin`` has the name of another that is not its own.

    Args:
        plugin: The plugin's name.
        metadata: Its tables.
        own: The router's own, whose view and revision have names, too.
        others: Those of other plugins.

    Raises:
        PluginError: One has; names both.
    """
    places = _places_of(metadata)
    names = [table.name for table in own.metadata.tables.values()]
    for name in (*names, own.version, own.view):
        if found := places.get(_place(own.schema, name)):
            reason = f"its table {found!r} would be {name!r} of the router itself"
            raise PluginError(plugin, f"{reason}: give it another name, such as {plugin}_{name}")
    for other, theirs in others.items():
        for place in _places_of(theirs):
            if found := places.get(place):
                reason = f"its table {found!r} is kept by plugin {other!r} already"
                raise PluginError(plugin, f"{reason}: give it another name")


def _places_of(metadata: MetaData) -> dict[Place, str]:
    return {_place(table.schema, table.name): table.fullname for table in metadata.tables.values()}


def _place(schema: str | None, name: str) -> Place:
    # SQLite does not tell capitals apart, and names that differ in nothing else mislead anywhere.
    return None if schema in _DEFAULT_SCHEMAS else schema, name.lower()


def log_creation(plugin: str, table: str) -> None:
    """Log that a plugin's table was made."""
    logger.info("created table %s of plugin %s", table, plugin)


def create(
    engine: Engine, wanted: Wanted, *, tell: Callable[[str, str], None] = log_creation
) -> None:
    """Create the tables that do not exist yet; those that do are left as they are.

    The tables of one plugin are made in one transaction, all of them or none. Several processes may
    do so at once: one creates, the others wait and find it done.

    Args:
        engine: The database.
        wanted: What is to be there.
        tell: Called with plugin and table for each one that was made.

    Raises:
        SchemaError: Those of a plugin could not be made; those of the others have been.
    """
    failures = []
    for plugin, metadata in wanted.items():
        try:
            made = _create(engine, metadata)
        except SQLAlchemyError as error:
            failures.append(f"the tables of plugin {plugin!r} were not created: {_cause(error)}")
            continue
        for table in made:
            tell(plugin, table)
    if failures:
        reasons = "; ".join(failures)
        raise SchemaError(
            f"{migrate.describe(engine)}: {reasons}; mend that and run `router db upgrade` again"
        )


def _create(engine: Engine, metadata: MetaData) -> list[str]:
    with engine.connect() as connection:
        connection.exec_driver_sql(LOCKS[engine.dialect.name])
        missing = _find_missing(connection, metadata)
        if missing:
            metadata.create_all(connection, tables=missing)
        connection.commit()
    return [table.fullname for table in missing]


def require(engine: Engine, wanted: Wanted) -> None:
    """Refuse a database in which a plugin would look for its tables in vain.

    Raises:
        SchemaError: Names the plugins, the tables and what to do.
    """
    lines = []
    with engine.connect() as connection:
        for plugin, metadata in wanted.items():
            try:
                missing = _find_missing(connection, metadata)
            except SQLAlchemyError as error:
                reason = f"those of plugin {plugin!r} cannot be looked for: {_cause(error)}"
                raise SchemaError(f"tables in {migrate.describe(engine)}: {reason}") from error
            lines += [f"{table.fullname} of plugin {plugin!r}" for table in missing]
    if lines:
        raise SchemaError(
            f"{migrate.describe(engine)} lacks the table {', the table '.join(lines)}; create what "
            "is missing with `router db upgrade`, given the same settings and --plugins-dir, or in "
            "code with `router.create_tables()`"
        )


def find_drift(engine: Engine, wanted: Wanted) -> list[str]:
    """Return a line for each difference between the tables in the database and the plugins' own."""
    lines = []
    with engine.connect() as connection:
        migrate.begin_reading(connection)
        for plugin, metadata in wanted.items():
            for kind, *details in _compare(connection, metadata):
                difference = migrate.phrase(str(kind), *details, owner="the plugin's")
                lines.append(f"plugin {plugin!r}: {difference}")
    return lines


def render_sql(wanted: Wanted, dialect_name: str) -> str:
    """Return the SQL that creates the tables, to be run by hand; one transaction a plugin."""
    statements: list[str] = []

    def write(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(f"{str(statement.compile(dialect=engine.dialect)).strip()};")

    # The drivers' own way to write parameters would double each %.
    engine = create_mock_engine(f"{dialect_name}://", write, paramstyle="named")
    for plugin, metadata in wanted.items():
        statements += [f"-- plugin {plugin}", "BEGIN;"]
        metadata.create_all(engine, checkfirst=False)
        statements.append("COMMIT;")
    return "\n\n".join(statements)


def _find_missing(connection: Connection, metadata: MetaData) -> list[Table]:
    inspector = inspect(connection)
    return [
        table
        for table in metadata.sorted_tables
        if not inspector.has_table(table.name, schema=table.schema)
    ]


def _compare(connection: Connection, metadata: MetaData) -> Iterator[tuple[object, ...]]:
    places = {(table.schema, table.name) for table in metadata.tables.values()}
    schemas = {schema for schema, _ in places}

    def is_its(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
        if kind == "schema":
            return name in schemas
        return kind != "table" or (parents["schema_name"], name) in places

    scripts = import_module("router.scripts")  # most starts have no use for it
    differences = scripts.compare_some(
        connection, metadata, is_its=is_its, in_schemas=schemas != {None}
    )
    for kind in ("index", "constraint"):
        removed, added = (
            [one for one in differences if one[0] == f"{what}_{kind}"] for what in ("remove", "add")
        )
        for gone in removed:  # a rebuild leaves indexes and keys under other names
            same = [one for one in added if is_same_index(gone[1].name, one[1].name)]
            for one in (gone, *same) if same else ():
                differences.remove(one)
    yield from differences


def _cause(error: SQLAlchemyError) -> object:
    return error.orig if isinstance(error, DBAPIError) else error
