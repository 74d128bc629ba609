"""Checks of what is beneath the log, whatever the engine: its schema and the clocks."""

from sqlalchemy import func, select

from router import migrate
from router.doctor.findings import Case, Finding, as_span, judge

TOLERANCE = 5_000_000  # microseconds by which clocks may differ: less than a lease


def examine_schema(case: Case) -> Finding:
    """The tables are those of this version. Reads the catalogue alone."""
    engine, tables = case.store.engine, case.tables
    found, needed = migrate.current(engine, tables), migrate.head()
    if found != needed:
        problems = [f"at revision {found or 'none'}, and this version needs {needed}"]
        advice = (
            f"run `router db upgrade`; if {found} is newer than this version, install the newer one"
        )
        return judge("schema", problems, sound="", advice=advice)
    return judge(
        "schema",
        migrate.find_drift(engine, tables),
        sound=f"at revision {found}",
        advice="somebody has changed the tables: undo that; `router db sql` prints what they are",
    )


def examine_clock(case: Case) -> Finding:
    """The clocks of machine and database agree, and nothing on record is of the future."""
    tables = case.tables
    marks = {
        "the newest notification": func.max(tables.notification.c.received_at),
        "the last append": func.max(tables.head.c.appended_at),
        "a worker": func.max(tables.worker.c.seen_at),
    }
    with case.store.reading() as connection:
        times = {name: connection.scalars(select(mark)).one() for name, mark in marks.items()}
    ours, theirs = int(case.clock() * 1_000_000), case.store.now()
    ahead = {name: at - ours for name, at in times.items() if at is not None}
    problems = [
        f"{name} is {as_span(by)} in the future" for name, by in ahead.items() if by > TOLERANCE
    ]
    if abs(theirs - ours) > TOLERANCE:
        problems.append(f"the database's clock is {as_span(abs(theirs - ours))} off this machine's")
    return judge(
        "clock",
        problems,
        sound=f"within {TOLERANCE / 1_000_000:g} s of the database's, and nothing is of the future",
        advice="set the clocks (NTP) of this machine, the database's and the workers': leases, "
        "retries and retention go by them",
    )
