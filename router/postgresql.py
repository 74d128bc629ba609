"""PostgreSQL as a durable log needs it: its settings, its transactions, its clock."""

from contextlib import suppress

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from router import announcements, roundtrips
from router.errors import StoreError
from router.kind import Kind
from router.lookup import Lookup
from router.places import Place
from router.roundtrips import execute_all

LANES = 8
HAS_ONE_WRITER = False
HAS_WAKEUPS = True
HAS_SCHEMAS = True
KEPT = 8

OLDEST = 15  # the first version that the log is tested on
CONNECT_SECONDS = 2  # for each host of the URL; libpq takes less for that, too
POOL_SECONDS = 5.0
KEEPALIVE_SECONDS = 3
SILENT_MILLIS = 3_000  # after which a server that acknowledges nothing counts as gone

announce, listening = announcements.announce, announcements.listening

# How long a transaction waits for the locks of another one, and how long the server lets it stand
# still between two statements: a process that froze does not hold up the others for longer.
APPEND_LOCK, APPEND_IDLE = 2.0, 1.0  # seconds
OTHER_LOCK, OTHER_IDLE = 12.0, 10.0
STATEMENT = 5.0  # that one statement of an append may take

# The first number of our advisory locks, all of which end with their transaction: a pooler may
# give each transaction to another session.
LOCKS = 1_819_239_283

# Where somebody has switched it off; else it stays as it is, which may be more than "on".
_WAIT_FOR_DISK = (
    "SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') = 'off'"
)

# By how SQLSTATE begins: what passes, or is put right where the server is run. Whatever else there
# is was brought about by a row or a statement, and would come again: but for a table or a
# permission that is missing, and a statement that a pooler has left behind.
_PASSING = ("08", "25", "26", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX")
_STATES = ("42P01", "42501", "42P05")


def open_engine(url: URL, *, create: bool) -> Engine:
    """Return an engine for a database that whoever runs the server has made.

    Args:
        url: May name several hosts. ``?prepare_threshold=none`` keeps the driver from preparing
            statements, for a pooler that cannot hand them on; a number is after how many uses.
        create: Is not heeded.

    Raises:
        StoreError: The driver is another one, or not installed.
    """
    if url.get_driver_name() != "psycopg":
        raise StoreError(
            f"{url.drivername} is not a driver that the log uses: write postgresql+psycopg://..."
        )
    arguments = _read_threshold(url) | {
        key: value
        for key, value in (
            ("connect_timeout", CONNECT_SECONDS),
            ("tcp_user_timeout", SILENT_MILLIS),
            ("keepalives_idle", KEEPALIVE_SECONDS),  # who listens sends nothing by itself
            ("keepalives_interval", KEEPALIVE_SECONDS),
            ("application_name", "notification-router"),
        )
        if key not in url.query
    }
    try:
        engine = create_engine(
            url.difference_update_query(["prepare_threshold"]),
            poolclass=QueuePool,
            pool_size=16,
            max_overflow=16,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,  # they hold bodies, and errors are logged
            connect_args=arguments,
        )
    except ModuleNotFoundError as error:
        raise StoreError(
            "the driver for PostgreSQL is not installed: install notification-router[postgres]"
        ) from error
    event.listen(engine, "connect", _check, insert=True)  # SQLAlchemy asks, too, and expects text
    return engine


def create(engine: Engine) -> None:
    """Do nothing: whoever runs the server makes the database."""


def _read_threshold(url: URL) -> dict[str, object]:
    """Return what the URL says of prepared statements, which the driver takes as a number only."""
    text = url.query.get("prepare_threshold")
    if text is None:
        return {}
    if text == "none":
        return {"prepare_threshold": None}
    if isinstance(text, str) and text.isdecimal() and int(text) > 0:  # several at once cannot be
        return {"prepare_threshold": int(text)}
    raise StoreError(f"prepare_threshold is a number from 1 on, or none, not {text!r}")


def _check(connection: object, entry: ConnectionPoolEntry) -> None:
    """Refuse a server that does not keep what it is given, once for each connection to it."""
    try:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]  # a driver's connection
            cursor.execute(_SETTINGS)
            version, *texts = cursor.fetchone()
        # From a database of no encoding the driver takes text for bytes.
        _require_settings(version, *(one.decode() if type(one) is bytes else one for one in texts))
        connection.rollback()  # type: ignore[attr-defined]
    except BaseException:
        connection.close()  # type: ignore[attr-defined]
        raise


_SETTINGS = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " current_setting('fsync'), current_setting('full_page_writes')"
)


def _require_settings(version: int, encoding: str, fsync: str, pages: str) -> None:
    if version < OLDEST * 10_000:
        raise StoreError(
            f"PostgreSQL {version // 10_000} is older than {OLDEST}, the oldest that the log uses"
        )
    if encoding != "UTF8":
        raise StoreError(
            f"the database is encoded in {encoding}, and events are in Unicode: create it with "
            "ENCODING 'UTF8'"
        )
    off = [name for name, value in (("fsync", fsync), ("full_page_writes", pages)) if value != "on"]
    if off:
        raise StoreError(
            f"the server runs with {' and '.join(off)} off, so that a crash may lose or destroy "
            "what was answered 200: switch it on in postgresql.conf"
        )


def require_durable(engine: Engine) -> None:
    """Refuse an engine made elsewhere whose server does not keep what the log promises.

    Raises:
        StoreError: Names the setting and what to do.
    """
    if engine.driver != "psycopg":
        raise StoreError(f"the engine's driver is {engine.driver}: the log uses psycopg")
    with engine.connect() as connection:
        _require_settings(*connection.exec_driver_sql(_SETTINGS).one())


def keep(connection: Connection, *, lasting: bool) -> None:
    """Leave BEGIN to us: the driver's own would be a statement, and a way to the server, more."""
    connection.execution_options(isolation_level="AUTOCOMMIT")
    if lasting:  # the others are lent to handlers, to whom SQLAlchemy is as it is
        roundtrips.keep(connection)


def begin_reading(connection: Connection) -> None:
    """Open a transaction that sees one state of the database until it ends."""
    connection.execution_options(isolation_level="AUTOCOMMIT")
    # Of a filter the server knows more with its values than without: how much of the log it is.
    execute_all(
        connection,
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
        " SET LOCAL plan_cache_mode = force_custom_plan",
    )


def begin_writing(
    connection: Connection,
    *,
    kind: Kind = Kind.STEER,
    place: int = 0,
    idle: float | None = None,
    lookup: Lookup | None = None,
) -> None:
    """Open a transaction each of whose statements sees what was committed before it.

    Args:
        connection: One that was made ready by `keep`.
        kind: What it is for. Unless it is an owner's, its commit waits for the disk, and for
            standbys if the server is to.
        place: The number of the log, in which one steers at a time.
        idle: Seconds that it may stand still between two statements; None is as usual.
        lookup: Asked in the same way to the server.
    """
    is_append = kind is Kind.APPEND
    lock, rest = (APPEND_LOCK, APPEND_IDLE) if is_append else (OTHER_LOCK, OTHER_IDLE)
    settings = [f"idle_in_transaction_session_timeout = {_millis(idle or rest)}"]
    if is_append:
        settings.append(f"statement_timeout = {_millis(STATEMENT)}")
        # A plan that was made while the table was small is kept until the next ANALYZE.
        settings.append("enable_seqscan = off")
    if kind in (Kind.APPEND, Kind.STEER):  # an owner's handlers wait for locks as long as they like
        settings.append(f"lock_timeout = {_millis(lock)}")
    if kind is Kind.OWN:
        settings.append("synchronous_commit = off")
    texts = ["BEGIN", *(f"SET LOCAL {one}" for one in settings)]
    if kind is not Kind.OWN:
        texts.append(_WAIT_FOR_DISK)
    if lookup is not None:
        texts.append(lookup.write(connection.dialect))
    result = execute_all(connection, "; ".join(texts))
    if lookup is not None:
        lookup.read(result)
    if kind is Kind.STEER:
        execute_all(connection, f"SELECT pg_advisory_xact_lock({LOCKS}, {place})")


def require_lasting(connection: Connection) -> None:
    """Make sure that a host's connection is in a transaction.

    Raises:
        StoreError: There is none; says what to do.
    """
    driver = connection.connection.dbapi_connection
    if driver is not None and connection.dialect.detect_autocommit_setting(driver):
        raise StoreError(
            "the connection commits each statement by itself: take one whose isolation_level is "
            "not AUTOCOMMIT"
        )


def find_place(connection: Connection) -> Place:
    """Return the database by its name and its server's own number, where that may be asked for."""
    name = str(connection.exec_driver_sql("SELECT current_database()").scalar_one())
    number = None
    with suppress(DBAPIError), connection.begin_nested():
        query = "SELECT CAST(system_identifier AS text) FROM pg_control_system()"
        number = str(connection.exec_driver_sql(query).scalar_one())
    return Place(f"the database {name!r} (server {number or 'unknown'})", (name, number))


def join(connection: Connection, head: Table) -> None:
    """Let a host's transaction wait for the disk when it is committed."""
    connection.exec_driver_sql(_WAIT_FOR_DISK)


def read_clock(connection: Connection) -> float | None:
    """Return the server's time in seconds since 1970."""
    query = "SELECT extract(epoch FROM clock_timestamp())"
    return float(connection.exec_driver_sql(query).scalar_one())


def explain(error: DBAPIError) -> str | None:
    """Return what keeps the server from answering; None where a row is at fault.

    The driver's own words alone: SQLAlchemy's add the statement and its parameters.
    """
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    if state and not state.startswith(_PASSING) and state not in _STATES:
        return None
    lines = str(error.orig).splitlines() or [type(error.orig).__name__]
    return f"{lines[0]}; make it with `router db upgrade`" if state == "42P01" else lines[0]


def is_locked_out(error: DBAPIError) -> bool:
    """Whether a lock of somebody else kept it from going on for too long."""
    return getattr(error.orig, "sqlstate", None) == "55P03"


def end_holders(connection: Connection, table: Table) -> None:
    """End the transactions that lock rows of ``table`` and have long waited for their client.

    The server's own time limit for that begins where a statement ends: it does not cover a process
    that stands still when it has sent a part of a long one, or the rows and not yet the COMMIT.
    """
    name = connection.dialect.identifier_preparer.format_table(table)
    connection.execute(text(_END_HOLDERS), {"table": name, "seconds": APPEND_IDLE})


_END_HOLDERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE datname = current_database() AND relation = CAST(:table AS regclass)"
    " AND mode = 'RowShareLock' AND granted AND wait_event = 'ClientRead'"
    " AND state_change < clock_timestamp() - make_interval(secs => :seconds)"
)


def _millis(seconds: float) -> int:
    return int(seconds * 1_000)
