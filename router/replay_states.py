"""The states of a replay."""

from typing import Final

PLANNED: Final = "planned"  # no worker has taken it up
RUNNING: Final = "running"
PAUSED: Final = "paused"  # by an operator
DONE: Final = "done"  # each of its events was handled or given up
CANCELLED: Final = "cancelled"  # by an operator
FAILED: Final = "failed"  # it must not be carried out any more

OVER = (CANCELLED, FAILED)  # ended before its time: nobody takes it up again
FINISHED = (DONE, *OVER)  # nothing of it is read any more
