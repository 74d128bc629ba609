"""A log that is filled in several calls is the one that a single call makes."""

from contextlib import closing
from pathlib import Path

from benchmarks.engines import Database
from benchmarks.filling import fill, find_log, measure_disk, read_head
from router import EventLog


def read_ids(database: Database) -> list[tuple[int, str | None, str]]:
    """Return what tells the events of a log apart, in order."""
    with closing(EventLog(database.url).store) as store:
        return [(one.position, one.external_id, one.type) for one in EventLog(store).read()]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Time that is up ends a call after a transaction; the next one adds what is missing."""
    database = find_log(tmp_path, 1_200)
    assert fill(database, 1_200, seconds=0.0, monotonic=lambda: 7.0) == 500
    again = find_log(tmp_path, 1_200)
    assert fill(again, 1_200, seconds=60.0, monotonic=lambda: 7.0) == 1_200

    at_once = find_log(tmp_path / "other", 1_200)
    fill(at_once, 1_200, seconds=60.0, monotonic=lambda: 7.0)
    assert read_ids(again) == read_ids(at_once)


def test_a_full_log_is_left_as_it_is(tmp_path: Path) -> None:
    """Also one that has grown beyond its size by what was measured."""
    database = find_log(tmp_path, 300)
    fill(database, 300, seconds=60.0)
    assert fill(database, 200, seconds=60.0) == 300
    assert read_head(database) == 300


def test_disk_is_measured_for_each_event(tmp_path: Path) -> None:
    """What is still in the write-ahead log counts, too."""
    database = find_log(tmp_path, 1_000)
    fill(database, 1_000, seconds=60.0)
    assert 500 < measure_disk(database) < 5_000
