"""The doctor: whether a log is sound, and whether somebody sees to it; it changes nothing.

Each check is a function of its own that reads the database, in short transactions and while others
work. Like every last connection to SQLite, the doctor's leaves the write-ahead log empty.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.exc import DBAPIError

from router import migrate
from router.doctor import delivering, history, machine, record, server
from router.doctor.findings import Case, Check, Finding
from router.store import Store

__all__ = ["Finding", "examine"]

# What needs no tables, by the engine beneath.
BENEATH: Mapping[str, Sequence[Check]] = {
    "sqlite": (machine.examine_schema, machine.examine_wal, machine.examine_durability),
    "postgresql": (machine.examine_schema, server.examine_durability),
}
CHECKS: Sequence[Check] = (
    history.examine_positions,
    history.examine_notifications,
    history.examine_shards,
    history.examine_dedupe,
    record.examine_checkpoints,
    record.examine_lanes,
    record.examine_orphans,
    record.examine_blocked,
    record.examine_intents,
    delivering.examine_workers,
    delivering.examine_leases,
    delivering.examine_takeovers,
    delivering.examine_states,
    delivering.examine_timeouts,
    delivering.examine_hanging,
    machine.examine_clock,
)
# Of a server nobody but its own machine knows how full its disk is.
LAST: Mapping[str, Sequence[Check]] = {"sqlite": (machine.examine_disk,), "postgresql": ()}


def examine(
    store: Store, *, is_deep: bool = False, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Return what each check finds.

    Where the tables are of another version, only what needs none is checked.

    Args:
        store: The database, whose schema may be of any revision.
        is_deep: Whether every event is looked at, rather than the oldest and the newest.
        clock: This machine's, in seconds since 1970.

    Raises:
        StoreError: There is no such database.
        Unavailable: It does not answer, or is none.
    """
    with store.reading():
        pass  # whoever cannot be asked at all is not examined
    case = Case(store=store, is_deep=is_deep, clock=clock)
    is_ours = migrate.current(store.engine, store.tables) == migrate.head()
    engine = store.engine.dialect.name
    checks = [*BENEATH[engine], *((*CHECKS, *LAST[engine]) if is_ours else ())]
    return [_run(check, case) for check in checks]


def _run(check: Check, case: Case) -> Finding:
    """Return what a check finds; that it cannot be made is a finding, too."""
    try:
        return check(case)
    except Exception as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        return Finding(
            check.__name__.removeprefix("examine_"),
            is_sound=False,
            text=f"could not be examined: {type(error).__name__}: {reason}",
            advice="see the other lines, schema first; a busy database may be asked again",
        )
