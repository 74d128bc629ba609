"""Tests of the files with logs that tests have."""

from pathlib import Path

from router import EventLog
from router.testing.harness import make_log
from router.testing.harness.logs import copy_log
from tests.entries import append_messages


def test_an_empty_log_is_made(tmp_path: Path) -> None:
    """It has the tables of this version, and no event."""
    make_log(tmp_path / "router.db")
    log = EventLog(f"sqlite:///{tmp_path / 'router.db'}")
    log.store.require_current()
    assert log.head() == 0
    log.store.close()


def test_a_copy_holds_all_that_was_committed(tmp_path: Path) -> None:
    """Also what stands in the write-ahead log alone; what the target held is gone."""
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    for path in (source, target):
        make_log(path)
    log, other = EventLog(f"sqlite:///{source}"), EventLog(f"sqlite:///{target}")
    append_messages(log, ["ana", "ben"])
    append_messages(other, ["eve"])
    other.store.close()
    assert source.with_name("source.db-wal").stat().st_size > 0
    copy_log(source, target)
    assert [event.subject for event in other.read()] == [":ana", ":ben"]
    for one in (log, other):
        one.store.close()
