"""Changes that each leave out one lock, so that the tests of contention prove they can fail."""

from collections.abc import Mapping

from tests.faults.delivery_mutants import Change, Mutant

LOCKED = ".with_for_update(skip_locked=True)"

LANES = "tests/contention/test_lanes.py"
LEDGER = "tests/test_ledger.py"
REPLAYS = "tests/contention/test_replays.py"
WRITING = "tests/contention/test_writing.py"

MUTANTS: Mapping[str, Mutant] = {
    "appends do not take turns": Mutant(
        f"{WRITING}::test_appends_take_turns",
        [
            Change("head.py", "return query.with_for_update()", "return query"),
            Change("lookup.py", "{where} FOR UPDATE;", "{where};"),
        ],
    ),
    "two may steer at a time": Mutant(
        f"{WRITING}::test_one_steers_at_a_time",
        [
            Change(
                "postgresql.py",
                'execute_all(connection, f"SELECT pg_advisory_xact_lock({LOCKS}, {place})")',
                'execute_all(connection, "SELECT 1")',
            )
        ],
    ),
    "appends wait for who steers": Mutant(
        f"{LANES}::test_of_two_who_claim_one_gets_all",
        [Change("postgresql.py", "if kind is Kind.STEER:", "if kind is not Kind.OWN:")],
    ),
    "claims are not locked": Mutant(
        f"{LANES}::test_of_two_who_claim_one_gets_all",
        [Change("claims.py", "query.with_for_update(of=lane, skip_locked=True)", "query")],
    ),
    "claims wait": Mutant(
        f"{LANES}::test_of_two_who_claim_one_gets_all",
        [
            Change("claims.py", "of=lane, skip_locked=True", "of=lane"),
        ],
    ),
    "renewing waits for owners": Mutant(
        f"{LANES}::test_renewing_waits_for_no_transaction_of_an_owner",
        [
            Change("lanes.py", f"mine{LOCKED}", "mine.with_for_update()"),
        ],
    ),
    "commands take what is written to": Mutant(
        f"{LANES}::test_a_lane_that_is_written_to_is_left_to_its_owner",
        [
            Change("unowned.py", f"query.where(is_free){LOCKED}", "query.where(is_free)"),
        ],
    ),
    "rest does not last": Mutant(
        f"{LANES}::test_nobody_claims_what_is_being_renamed",
        [
            Change("rest.py", "mine.with_for_update()", "mine"),
        ],
    ),
    "last lanes do not see each other": Mutant(
        f"{REPLAYS}::test_two_last_lanes_end_a_replay",
        [
            Change(
                "replay_runs.py", "replay_lanes.lock(connection, self._tables, lane.run)", "pass"
            ),
        ],
    ),
    "counts overwrite each other": Mutant(
        f"{REPLAYS}::test_two_lanes_count_together",
        [
            Change("replay_counts.py", "where(this).with_for_update()", "where(this)"),
        ],
    ),
    "what is redriven at the end of a lane is left behind": Mutant(
        f"{REPLAYS}::test_what_is_redriven_while_its_lane_ends_is_not_left_behind",
        [
            Change("intents.py", "return bool(asked)", "return False"),
        ],
    ),
    "owners do not see what others carry out": Mutant(
        f"{REPLAYS}::test_two_owners_carry_out_an_intent",
        [
            Change("intents.py", "query.with_for_update() if locking else query", "query"),
        ],
    ),
    "lanes are claimed while they are switched": Mutant(
        f"{REPLAYS}::test_nobody_claims_what_is_being_switched",
        [
            Change("rebuild_record.py", "query = query.with_for_update()", "pass"),
        ],
    ),
    "lanes are struck off while they are written to": Mutant(
        f"{REPLAYS}::test_a_lane_that_is_written_to_is_not_struck_off",
        [
            Change("replay_lanes.py", f"free{LOCKED}", "free"),
        ],
    ),
    "what was committed is done again": Mutant(
        f"{LEDGER}::test_what_may_have_been_committed_is_not_done_again",
        [
            Change(
                "fence.py",
                'or_(before == ANY, columns.uptime.in_((before, bindparam("new_uptime")))),',
                'or_(before == before, columns.uptime == bindparam("new_uptime")),',
            ),
        ],
    ),
}
