"""Tests of `router.tiling`: how lanes are cut anew. `tests.test_control` shows that it is exact."""

from collections.abc import Iterator

import pytest

from router.tiling import MOST_RANGES, Behind, Tile, cut, fill, retile

HALVES = (0, 511), (512, 1023)


def alternating(after: int, until: int) -> Iterator[tuple[int, int]]:
    """A log in which the events of two lanes take turns."""
    return ((position, position % 2 * 512) for position in range(after + 1, until + 1))


def never(after: int, until: int) -> Iterator[tuple[int, int]]:
    """A log that nobody may read."""
    pytest.fail(f"read {after} to {until}")


def test_lanes_cover_all_shards() -> None:
    """However many there are, they lie side by side and are nearly as wide."""
    for lanes in (1, 3, 1024):
        tiles = cut(lanes)
        assert [first for first, _ in tiles] == [0, *(last + 1 for _, last in tiles[:-1])]
        assert tiles[-1][1] == 1023
        assert {last - first + 1 for first, last in tiles} <= {1024 // lanes, 1024 // lanes + 1}


def test_what_is_missing_is_at_its_end() -> None:
    """Where a replay's lane is gone, at either side or between, all is settled."""
    left = [Tile(256, 511, 3), Tile(768, 900, 4)]

    filled = fill(left, end=9)

    assert [(tile.first, tile.last, tile.checkpoint) for tile in filled] == [
        (0, 255, 9),
        (256, 511, 3),
        (512, 767, 9),
        (768, 900, 4),
        (901, 1023, 9),
    ]


def test_a_part_inherits_without_a_look_at_the_log() -> None:
    """Within one old lane, and over several that have come as far, nothing has to be read."""
    whole = [Tile(0, 1023, 5, [(7, 9)], uptime=3)]
    halves = [Tile(first, last, 5, [(7, 9)], uptime=3) for first, last in HALVES]

    assert retile(whole, 2, read=never) == halves
    assert retile(halves, 1, read=never) == whole


def test_only_where_lanes_are_apart_the_log_is_read() -> None:
    """From the lowest checkpoint to the end of what is settled; uptime is the lowest."""
    asked = []

    def read(after: int, until: int) -> Iterator[tuple[int, int]]:
        asked.append((after, until))
        return alternating(after, until)

    old = [Tile(0, 511, 4, uptime=8), Tile(512, 1023, 5, [(7, 9)], uptime=3)]

    assert retile(old, 1, read=read) == [Tile(0, 1023, 4, [(5, 5), (7, 7), (9, 9)], uptime=3)]
    assert asked == [(4, 9)]


def test_lanes_too_far_apart_are_refused() -> None:
    """A record that would be too long is not written; one as long as may be is."""
    ahead = 2 * MOST_RANGES
    old = [Tile(0, 511, 0), Tile(512, 1023, ahead)]

    [tile] = retile(old, 1, read=alternating)
    assert len(tile.done) == MOST_RANGES

    old = [Tile(0, 511, 0), Tile(512, 1023, ahead + 1)]
    with pytest.raises(Behind, match=r"shards 0 to 511 has come to position 0, .* catch up first"):
        retile(old, 1, read=alternating)
