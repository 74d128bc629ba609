"""Tests of `router.room`: what several deliveries may hold is shared evenly, within bounds."""

from contextlib import ExitStack

import pytest

from router.room import BYTES, LEAST_BYTES, LEAST_EVENTS, WINDOW, Room


def shares(room: Room, *, sharing: int) -> tuple[int, int]:
    """Return how many events and bytes each may hold of so many that share ``room``."""
    with ExitStack() as stack:
        for _ in range(sharing):
            stack.enter_context(room.taken())
        return room.events, room.bytes


@pytest.mark.parametrize(
    ("sharing", "events", "size"),
    [
        (0, 1_000, BYTES),
        (1, 1_000, BYTES),
        (2, 1_000, 32_000_000),
        (4, 1_000, 16_000_000),
        (5, 800, 12_800_000),
        (7, 571, 9_142_857),
    ],
)
def test_each_has_an_even_share(sharing: int, events: int, size: int) -> None:
    """Of what there is for all; but none has more than one alone would have."""
    room = Room(events=4_000, size=64_000_000)

    found = shares(room, sharing=sharing)

    assert found == (events, size)


def test_alone_one_has_the_window() -> None:
    """Live delivery shares with nobody; more room than that is given to none."""
    assert shares(Room(), sharing=1) == (WINDOW, BYTES)
    assert shares(Room(events=10 * WINDOW, size=10 * BYTES), sharing=1) == (WINDOW, BYTES)


def test_there_is_room_for_some_however_many_share() -> None:
    """Each gets on, if only by a few events at a time."""
    assert shares(Room(events=100, size=1_000_000), sharing=90) == (LEAST_EVENTS, LEAST_BYTES)


def test_whoever_leaves_makes_room() -> None:
    """The others have more from then on."""
    room = Room(events=100)
    with room.taken():
        with room.taken():
            assert room.events == 50
        assert room.events == 100
