"""The tables' revisions: bringing a database to this version, and refusing one that is not there.

Nothing here prints, and nothing configures logging. `upgrade` alone changes a database.
"""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, TableClause, column, inspect, select, table, update
from sqlalchemy.exc import DBAPIError

from router.errors import SchemaError
from router.masks import mask
from router.schema import Tables

_SCRIPTS = Path(__file__).with_name("migrations")
_BEGIN = {"sqlite": "BEGIN"}  # the driver's own transaction handling is off

DIALECTS = ("sqlite", "postgresql")

# Stands behind the revision of a database that is being filled from another one.
_UNFINISHED = "-copying"


def upgrade(engine: Engine, tables: Tables, *, revision: str = "head") -> None:
    """Bring the database to ``revision``, in one transaction: all of it or nothing.

    Several processes may do so at once: one upgrades, the others wait and find it done.

    Raises:
        SchemaError: The database is newer than this version, or does not take the tables.
    """
    _require_known(engine, current(engine, tables))
    try:
        with engine.connect() as connection:
            _scripts().upgrade(connection, tables, revision=revision, folder=_SCRIPTS)
            connection.commit()
    except (DBAPIError, SchemaError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise SchemaError(
            f"{describe(engine)} was not upgraded and is as it was: {cause}; mend that and run "
            "`router db upgrade` again"
        ) from error


def upgrade_on(connection: Connection, tables: Tables, *, revision: str) -> None:
    """Do the same within a transaction on ``connection``, which whoever has begun it commits.

    Raises:
        SchemaError: The database is newer than this version.
    """
    _require_known(connection.engine, _find_revision(connection, tables))
    _scripts().upgrade(connection, tables, revision=revision, folder=_SCRIPTS)


def current(engine: Engine, tables: Tables) -> str | None:
    """Return the revision of the database, or None where it has no tables of ours."""
    with engine.connect() as connection:
        return _find_revision(connection, tables)


def _find_revision(connection: Connection, tables: Tables) -> str | None:
    if not inspect(connection).has_table(tables.version, schema=tables.schema):
        return None
    return connection.scalars(select(_version(tables).c.version_num)).one_or_none()


def head() -> str:
    """Return the revision that this version needs."""
    return _revisions()[0]


def require_current(engine: Engine, tables: Tables) -> None:
    """Refuse a database whose tables are not those of this version.

    Raises:
        SchemaError: Names both revisions and what to do.
    """
    found = current(engine, tables)
    _require_known(engine, found)
    if found is None:
        raise SchemaError(
            f"{describe(engine)} is empty: it has no tables of the router, and this version needs "
            f"revision {head()}; create them with `router db upgrade`"
        )
    if found != head():
        raise SchemaError(
            f"{describe(engine)} is at revision {found}, and this version needs {head()}; "
            "bring it there with `router db upgrade`"
        )


def find_drift(engine: Engine, tables: Tables) -> list[str]:
    """Return a line for each difference between the database and the tables of this version.

    Raises:
        SchemaError: The database is at another revision, so that differences are no surprise.
    """
    require_current(engine, tables)
    with engine.connect() as connection:
        begin_reading(connection)
        found = _scripts().compare(connection, tables, folder=_SCRIPTS)
        lines = [phrase(*difference) for difference in found]
        if tables.view not in inspect(connection).get_view_names(tables.schema):
            lines.append(f"view {tables.view} is missing")
    return lines


def render_sql(tables: Tables, dialect_name: str) -> str:
    """Return the SQL that creates the tables of this version, to be run by hand.

    Raises:
        SchemaError: The tables are not made for that engine.
    """
    if dialect_name not in DIALECTS:
        known = " and ".join(DIALECTS)
        raise SchemaError(f"there is no SQL for {dialect_name!r}: the tables are made for {known}")
    rendered: str = _scripts().render_sql(tables, dialect_name=dialect_name, folder=_SCRIPTS)
    return rendered


def _scripts() -> Any:  # noqa: ANN401 - a module
    """Return `router.scripts`, loaded when it is needed: most starts have no use for it."""
    return import_module("router.scripts")


@cache
def _revisions() -> list[str]:
    """Return every revision that this version knows, newest first: their files are numbered."""
    files = (_SCRIPTS / "versions").glob("[0-9]*.py")
    return sorted((path.stem.partition("_")[0] for path in files), reverse=True)


def is_unfinished(engine: Engine, tables: Tables) -> bool:
    """Whether a copy into the database was begun, by this version, and has not ended."""
    return current(engine, tables) == head() + _UNFINISHED


def mark_unfinished(connection: Connection, tables: Tables, *, is_unfinished: bool) -> None:
    """Let nobody use a database of this version until a copy into it has ended, or end that."""
    mark = _UNFINISHED if is_unfinished else ""
    connection.execute(update(_version(tables)).values(version_num=head() + mark))


def require_unfinished(connection: Connection, tables: Tables) -> None:
    """Refuse to go on with a copy that somebody else has brought to its end.

    Raises:
        SchemaError: The database is one that is used by now.
    """
    found = connection.scalars(select(_version(tables).c.version_num)).one()
    if found != head() + _UNFINISHED:
        raise SchemaError(
            f"{describe(connection.engine)} is at revision {found} by now: another copy into it "
            "has ended, and this one changes nothing any more"
        )


def _version(tables: Tables) -> TableClause:
    return table(tables.version, column("version_num"), schema=tables.schema)


def _require_known(engine: Engine, found: str | None) -> None:
    if found is not None and found.endswith(_UNFINISHED):
        raise SchemaError(
            f"{describe(engine)} holds a part of a log, of revision "
            f"{found.removesuffix(_UNFINISHED)}: a copy into it has not ended; give the same "
            "`router db copy` again, and it goes on, or make the database anew"
        )
    if found is not None and found not in _revisions():
        raise SchemaError(
            f"{describe(engine)} is at revision {found}, newer than {head()}, the newest that "
            "this version knows; install the newer notification-router, or restore a backup made "
            "before that upgrade"
        )


def describe(engine: Engine) -> str:
    """Return what the database is called in a message; its URL without the password."""
    return f"the database {mask(engine.url.render_as_string(hide_password=True))}"


def begin_reading(connection: Connection) -> None:
    """Open a transaction that sees one state of the database, and takes no lock."""
    if begin := _BEGIN.get(connection.dialect.name):
        connection.exec_driver_sql(begin)


def phrase(kind: str, *details: object, owner: str = "ours") -> str:
    """Return one of alembic's differences as a line for a person.

    Args:
        kind: What it is, in alembic's words, such as ``add_column``.
        details: What belongs to such a difference.
        owner: Whose everything should be: what is too much "is not" that.
    """
    if kind.startswith("modify_"):
        _schema, table, column, _existing, is_now, should_be = details
        what = kind.removeprefix("modify_")
        return f"column {table}.{column}: {what} is {is_now!r} and should be {should_be!r}"
    action, _, what = kind.partition("_")
    state = "is missing" if action == "add" else f"is not {owner}"
    if what == "column":
        _schema, table, column = details
        return f"column {table}.{getattr(column, 'name', column)} {state}"
    item = details[0]
    return f"{what} {getattr(item, 'name', item)} {state}"
