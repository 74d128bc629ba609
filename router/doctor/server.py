"""Checks of a PostgreSQL server: its settings, its room for connections, old transactions."""

from sqlalchemy import text

from router.doctor.findings import Case, Finding, as_size, as_span, in_words, judge

MOST_SHARE = 0.8  # of the connections that the server allows
MOST_BLOAT = 64 * 2**20  # bytes of a table of few rows
LONGEST = 600  # seconds that a transaction may last before it keeps old rows from being cleared


def examine_durability(case: Case) -> Finding:
    """The server takes writes, and waits for the disk before it says that it has them."""
    query = """
        SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
        current_setting('synchronous_commit') AS commits, pg_is_in_recovery() AS is_standby,
        current_setting('synchronous_standby_names') AS standbys
    """
    with case.store.reading() as connection:
        row = connection.execute(text(query)).one()
    settings = {"fsync": row.fsync, "full_page_writes": row.pages}
    problems = [f"{name}={value}" for name, value in settings.items() if value != "on"]
    if row.is_standby:
        problems.append("the server is a standby, which takes no writes")
    sound = f"fsync={row.fsync}, full_page_writes={row.pages}, synchronous_commit={row.commits}"
    if row.standbys:
        sound += f", standbys: {row.standbys}"
    return judge(
        "durability",
        problems,
        sound=sound,
        advice="a crash loses what was answered 200, or nothing can be taken: set fsync and "
        "full_page_writes to on in postgresql.conf, and name the primary in the URL, or all of "
        "them with target_session_attrs=read-write",
    )


def examine_connections(case: Case) -> Finding:
    """The server has room for more connections."""
    query = """
        SELECT count(*) AS used, current_setting('max_connections')::int AS most
        FROM pg_stat_activity WHERE backend_type = 'client backend'
    """
    with case.store.reading() as connection:
        row = connection.execute(text(query)).one()
    found = f"{row.used} of {row.most} connections are in use"
    return judge(
        "connections",
        [found] if row.used > MOST_SHARE * row.most else [],
        sound=found,
        advice="whoever comes next may be refused, which is 503 for a provider: raise "
        "max_connections, or put a pooler before the server",
    )


def examine_transactions(case: Case) -> Finding:
    """Nobody keeps a transaction open so long that old rows cannot be cleared away."""
    query = """
        SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::bigint AS seconds, state
        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'
        AND xact_start < clock_timestamp() - make_interval(secs => :longest)
        ORDER BY xact_start
    """
    with case.store.reading() as connection:
        rows = connection.execute(text(query), {"longest": LONGEST}).all()
    return judge(
        "transactions",
        [f"pid {row.pid} ({row.state}) for {as_span(row.seconds * 1_000_000)}" for row in rows],
        sound=f"none is older than {as_span(LONGEST * 1_000_000)}",
        advice="a long transaction keeps the rows of head and lanes from being cleared, and every "
        "append becomes slower: end it; `SELECT pg_terminate_backend(PID)`",
    )


def examine_bloat(case: Case) -> Finding:
    """The rows that every append and every flush write anew are cleared away in time."""
    names = {case.tables.head.name, case.tables.lane.name}
    query = """
        SELECT relname, n_dead_tup AS dead, pg_total_relation_size(relid) AS size
        FROM pg_stat_user_tables WHERE relname = ANY(:names) AND schemaname = coalesce(:schema,
        current_schema())
    """
    place = {"names": sorted(names), "schema": case.tables.schema}
    with case.store.reading() as connection:
        rows = connection.execute(text(query), place).all()
    too_large = [row for row in rows if row.size > MOST_BLOAT]
    return judge(
        "bloat",
        [
            f"{row.relname} has {as_size(row.size)} and {in_words(row.dead, 'dead row')}"
            for row in too_large
        ],
        sound="head and lanes are small",
        advice="autovacuum does not keep up, or a long transaction keeps it from clearing: "
        "`VACUUM` the table; see `transactions`",
    )
