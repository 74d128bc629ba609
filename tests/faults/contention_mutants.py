"""Changes that each leave out one lock, so that the tests of contention prove they can fail."""

from collections.abc import Mapping, Sequence

from tests.faults.delivery_mutants import Change

LOCKED = ".with_for_update(skip_locked=True)"

MUTANTS: Mapping[str, Sequence[Change]] = {
    "appends do not take turns": [
        Change("head.py", "return query.with_for_update()", "return query")
    ],
    "two may steer at a time": [
        Change(
            "postgresql.py",
            '_tell(connection, f"SELECT pg_advisory_xact_lock({LOCKS}, {place})")',
            '_tell(connection, "SELECT 1")',
        )
    ],
    "appends wait for who steers": [
        Change("postgresql.py", "if kind is Kind.STEER:", "if kind is not Kind.OWN:")
    ],
    "claims are not locked": [
        Change("claims.py", "query.with_for_update(of=lane, skip_locked=True)", "query")
    ],
    "claims wait": [
        Change("claims.py", "of=lane, skip_locked=True", "of=lane"),
    ],
    "renewing waits for owners": [
        Change("lanes.py", f"mine{LOCKED}", "mine.with_for_update()"),
    ],
    "commands take what is written to": [
        Change("unowned.py", f"query.where(is_free){LOCKED}", "query.where(is_free)"),
    ],
    "rest does not last": [
        Change("rest.py", "mine.with_for_update()", "mine"),
    ],
    "last lanes do not see each other": [
        Change("replay_runs.py", "replay_lanes.lock(connection, self._tables, lane.run)", "pass"),
    ],
    "counts overwrite each other": [
        Change("replay_counts.py", "where(this).with_for_update()", "where(this)"),
    ],
    "what is redriven at the end of a lane is left behind": [
        Change("intents.py", "return bool(asked)", "return False"),
    ],
    "owners do not see what others carry out": [
        Change("intents.py", "query.with_for_update() if locking else query", "query"),
    ],
    "lanes are claimed while they are switched": [
        Change("rebuild_record.py", "query = query.with_for_update()", "pass"),
    ],
    "lanes are struck off while they are written to": [
        Change("replay_lanes.py", f"free{LOCKED}", "free"),
    ],
    "what was committed is done again": [
        Change(
            "fence.py",
            'or_(before == ANY, columns.uptime.in_((before, bindparam("new_uptime")))),',
            'or_(before == before, columns.uptime == bindparam("new_uptime")),',
        ),
    ],
}
