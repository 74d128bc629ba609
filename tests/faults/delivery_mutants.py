"""Changes that each break one promise of delivery, so that its properties prove that they can fail.

A change is made by exact replacement. Where the text has moved on, the table here has to follow.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """A change of the source.

    Attributes:
        module: The file's name within the package.
        old: What stands there, exactly once.
        new: What is put there instead.
    """

    module: str
    old: str
    new: str


class Mutant(NamedTuple):
    """A promise that is broken.

    Attributes:
        killer: The test that finds it out.
        changes: How it is broken.
    """

    killer: str
    changes: Sequence[Change]


DELIVERY = "tests/properties/test_delivery.py"
WAKEUPS = "tests/properties/test_wakeups.py"

MUTANTS: Mapping[str, Mutant] = {
    "checkpoint before effect": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [
            Change(
                "progress.py",
                "return self.cursor if first is None else first - 1",
                "return self.cursor",
            )
        ],
    ),
    "done ignored at takeover": Mutant(
        f"{DELIVERY}::test_what_is_done_ahead_stays_done",
        [Change("ledger.py", "Progress(lane.checkpoint, lane.done)", "Progress(lane.checkpoint)")],
    ),
    "parked row deleted early": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [
            Change(
                "parking.py",
                "connection.execute(update(table).where(*key).values(attempts=number))",
                "connection.execute(delete(table).where(*key))",
            )
        ],
    ),
    "blocked subject's events skipped": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [Change("retries.py", "if await self._catch_up_with(page.events):", "if not page:")],
    ),
    "subject released too early": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [
            Change(
                "retries.py",
                "if not must_wait and self._ledger.blocked.get(",
                "if self._ledger.blocked.get(",
            )
        ],
    ),
    "epoch guard removed": Mutant(
        f"{DELIVERY}::test_a_lease_may_be_lost",
        [
            Change(
                "fence.py", 'columns.epoch == bindparam("of_epoch")', 'bindparam("of_epoch") > 0'
            ),
            Change(
                "fence.py", 'or_(owner == "", columns.owner == owner)', 'or_(owner == "", True)'
            ),
            Change(  # which would find it out, too
                "fence.py",
                'or_(before == ANY, columns.uptime.in_((before, bindparam("new_uptime"))))',
                'or_(before == before, columns.uptime == bindparam("new_uptime"))',
            ),
        ],
    ),
    "BEGIN removed": Mutant(
        f"{DELIVERY}::test_delivery",
        [Change("sqlite.py", '.exec_driver_sql("BEGIN IMMEDIATE")', "")],
    ),
    "retry not recorded": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [
            Change(
                "retries.py",
                "self._make(event, number, begin=begin,",
                "self._make(event, number, begin=lambda _: None,",
            )
        ],
    ),
    "savepoint kept": Mutant(
        f"{DELIVERY}::test_a_worker_may_die_over_a_failing_event",
        [Change("subscriptions.py", 'f"ROLLBACK TO SAVEPOINT {SAVEPOINT}"', '"SELECT 1"')],
    ),
    "suspect mode off": Mutant(
        f"{DELIVERY}::test_what_kills_its_process_is_set_aside",
        [Change("lane.py", "return self.takeovers >= SUSPECT_TAKEOVERS", "return False")],
    ),
    "redrive moves the checkpoint": Mutant(
        f"{DELIVERY}::test_operators_may_act_at_any_time",
        [
            Change(
                "intents.py",
                "fresh = {",
                "connection.execute(update(lanes).where(*first).values(checkpoint=0)); fresh = {",
            )
        ],
    ),
    "intent carried out twice": Mutant(
        f"{DELIVERY}::test_operators_may_act_at_any_time",
        [
            Change(
                "intents.py",
                "values(state=RETRY, intent=None, **fresh)",
                "values(state=RETRY, **fresh)",
            )
        ],
    ),
    "pause not heeded": Mutant(
        f"{DELIVERY}::test_operators_may_act_at_any_time",
        [
            Change(
                "claims.py", "RUNNABLE = (ACTIVE, FAILING)", "RUNNABLE = (ACTIVE, FAILING, PAUSED)"
            )
        ],
    ),
    "log never looked at again": Mutant(
        f"{WAKEUPS}::test_a_lost_wake_up_costs_no_more_than_the_poll",
        [
            Change(
                "intake.py",
                "return self._may_be_more or waited >= POLL * 1_000_000",
                "return self._may_be_more",
            )
        ],
    ),
}


def apply(changes: Sequence[Change], package: Path) -> None:
    """Make ``changes`` in the copy of the package in that folder.

    Raises:
        AssertionError: What is to be changed is not there any more, or is there twice.
    """
    for change in changes:
        path = package / change.module
        source = path.read_text("utf-8")
        assert source.count(change.old) == 1, f"{change.module} has moved on: {change.old!r}"
        path.write_text(source.replace(change.old, change.new), "utf-8")
