"""Tests of `router.progress`: the checkpoint, and what is settled above it."""

import pytest

from router.progress import Progress, dump_ranges, load_ranges


def test_a_new_lane_starts_at_its_checkpoint() -> None:
    """Before anything is taken, everything up to the recorded checkpoint is settled."""
    progress = Progress(7)
    assert (progress.checkpoint, progress.done, progress.pending) == (7, [], 0)
    assert progress.is_caught_up


def test_the_checkpoint_passes_what_matches_nothing() -> None:
    """Positions that hold nothing for the lane are settled by having been read."""
    progress = Progress(0)
    assert progress.take([], reached=40) == []
    assert progress.checkpoint == 40


def test_the_checkpoint_stops_before_the_first_pending_position() -> None:
    """What is taken and not settled holds the checkpoint back, whatever comes after it."""
    progress = Progress(0)
    progress.take([2, 5, 6], reached=9)
    assert (progress.checkpoint, progress.done) == (1, [(3, 4), (7, 9)])


def test_the_checkpoint_moves_on_when_the_first_pending_position_is_settled() -> None:
    """Settling the lowest position moves the checkpoint up to the next one that is pending."""
    progress = Progress(0)
    progress.take([2, 5, 6], reached=9)
    progress.settle(2)
    assert (progress.checkpoint, progress.done) == (4, [(7, 9)])


def test_positions_are_settled_in_any_order() -> None:
    """What is settled above a pending position becomes a range, until the gap closes."""
    progress = Progress(0)
    progress.take([1, 2, 3, 4], reached=4)
    progress.settle(4)
    progress.settle(2)
    assert (progress.checkpoint, progress.done) == (0, [(2, 2), (4, 4)])
    progress.settle(1)
    assert (progress.checkpoint, progress.done) == (2, [(4, 4)])
    progress.settle(3)
    assert (progress.checkpoint, progress.done, progress.pending) == (4, [], 0)


def test_neighbouring_pending_positions_leave_no_range_between_them() -> None:
    """A range above the checkpoint is never empty."""
    progress = Progress(0)
    progress.take([1, 2], reached=2)
    assert progress.done == []


def test_what_is_settled_on_record_is_not_taken_again() -> None:
    """A new owner passes over the ranges that the former one had settled."""
    progress = Progress(2, [(8, 9), (4, 5)])
    assert progress.take([3, 4, 5, 6, 8, 9, 10], reached=10) == [3, 6, 10]
    assert progress.pending == 3


def test_a_lane_has_caught_up_once_the_cursor_passes_the_record() -> None:
    """As long as a recorded range lies ahead of the cursor, the lane has not caught up."""
    progress = Progress(0, [(2, 3), (6, 8)])
    progress.take([1, 4], reached=7)
    assert not progress.is_caught_up
    progress.take([], reached=8)
    assert progress.is_caught_up


def test_what_is_settled_ahead_of_the_cursor_stays_on_record() -> None:
    """The part of a recorded range that has not been read yet is told with the rest."""
    progress = Progress(0, [(5, 9)])
    progress.take([1, 2], reached=6)
    progress.settle(2)
    assert (progress.checkpoint, progress.done) == (0, [(2, 6), (7, 9)])


def test_the_cursor_never_goes_back() -> None:
    """A page that reached less far than an earlier one moves nothing."""
    progress = Progress(0)
    progress.take([], reached=5)
    progress.take([], reached=3)
    assert progress.cursor == progress.checkpoint == 5


def test_only_what_is_pending_can_be_settled() -> None:
    """Settling a position twice is a mistake that does not pass unnoticed."""
    progress = Progress(0)
    progress.take([1], reached=1)
    progress.settle(1)
    with pytest.raises(KeyError):
        progress.settle(1)


def test_a_new_owner_goes_on_exactly_where_the_former_one_was() -> None:
    """From the checkpoint and ranges of one owner, the next one takes just what was pending."""
    former = Progress(0)
    former.take(range(1, 11), reached=10)
    for position in (1, 3, 4, 8, 10):
        former.settle(position)
    later = Progress(former.checkpoint, load_ranges(dump_ranges(former.done)))
    assert later.take(range(later.checkpoint + 1, 11), reached=10) == [2, 5, 6, 7, 9]


@pytest.mark.parametrize("ranges", [[], [(3, 3)], [(3, 9), (11, 2**40)]])
def test_ranges_are_read_back_as_written(ranges: list[tuple[int, int]]) -> None:
    """What is written to `lane.done` is read back as the same ranges."""
    assert load_ranges(dump_ranges(ranges)) == ranges
