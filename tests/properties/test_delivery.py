"""However handlers fail and workers die: nothing is lost, doubled on record, or out of order."""

from functools import partial
from pathlib import Path
from typing import cast

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import Machine


def test_delivery(empty_database: Path) -> None:
    """Invariants 4 to 9, 11 and 13 hold, whatever fails, dies, is lost or done by operators."""
    run_state_machine_as_test(
        cast("type[Machine]", partial(Machine, empty_database)),
        settings=settings(max_examples=settings().max_examples, stateful_step_count=12),
    )
