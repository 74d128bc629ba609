"""Changes that each break one promise of replays, so that their properties prove they can fail."""

from collections.abc import Mapping

from tests.faults.delivery_mutants import Change, Mutant

REPLAYS = "tests/properties/test_replay.py"

MUTANTS: Mapping[str, Mutant] = {
    "replay moves the live checkpoint on": Mutant(
        f"{REPLAYS}::test_a_replay_gives_what_live_delivery_gave",
        [
            Change(
                "replay_lanes.py",
                "    missing = [",
                "    connection.execute(update(lane).where(lane.c.subscription == row.subscription)"
                ".values(checkpoint=row.to_position - 1))\n"
                "    missing = [",
            )
        ],
    ),
    "resume starts one page late": Mutant(
        f"{REPLAYS}::test_a_replay_gives_what_live_delivery_gave",
        [
            Change(
                "ledger.py",
                "Progress(lane.checkpoint, lane.done)",
                "Progress(lane.checkpoint + 500 * (lane.run > 0 and lane.epoch > 1), lane.done)",
            )
        ],
    ),
    "pause of a replay not heeded": Mutant(
        f"{REPLAYS}::test_a_cancelled_replay_is_heard_of_no_more",
        [
            Change(
                "replay_runs.py",
                "table.id.in_(numbers), table.state == RUNNING",
                'table.id.in_(numbers), table.state.in_((RUNNING, "paused"))',
            )
        ],
    ),
    "turns not shared between live and replay": Mutant(
        REPLAYS,  # any of them: whether two calls meet is a matter of time
        [
            Change(
                "opening.py",
                "turns=self._turns[lane.subscription]",
                "turns=Turns() if replay else self._turns[lane.subscription]",
            )
        ],
    ),
    "cancelled replay goes on": Mutant(
        f"{REPLAYS}::test_a_cancelled_replay_is_heard_of_no_more",
        [
            Change(
                "replay_runs.py",
                "table.id.in_(numbers), table.state == RUNNING",
                'table.id.in_(numbers), table.state.in_((RUNNING, "cancelled"))',
            )
        ],
    ),
}
