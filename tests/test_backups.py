"""Tests of backups: the log of one moment, sound, under a name that was free; or nothing."""

import errno
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete

from router import migrate
from router.backups import STEP, BackupError, back_up
from router.errors import SchemaError
from router.log import EventLog
from router.store import Store
from tests.entries import append, append_messages, make_entry

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the backup goes: a folder with a name that a URL would have to escape."""
    folder = tmp_path / "backups of 100%? #1"
    folder.mkdir()
    return folder / "events.db"


def read(file: Path) -> list[tuple[int, str]]:
    """The positions and ids of the log in a backup."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT position, id FROM event ORDER BY position").fetchall()


def test_it_is_the_log_of_one_moment_while_others_write(log: EventLog, target: Path) -> None:
    """What is committed while pages are copied is not in it, and does not begin it anew."""
    append(log, *(make_entry(text="x" * 10_000) for _ in range(1_500)))
    before = [(event.position, event.id) for event in log.read()]
    steps: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        steps.append((done, total))
        if len(steps) <= 5:  # a copy that begins anew comes to its end, too
            append_messages(log, ["ana"])

    made = back_up(log.store, target, tell=tell)

    assert (made.file, made.position) == (target, 1_500)
    assert made.size == target.stat().st_size > 1_500 * 10_000
    assert read(target) == before
    total = steps[0][1]
    assert [done for done, _ in steps] == [*range(STEP, total, STEP), total]
    assert len(list(log.read())) == 1_500 + min(5, len(steps))


def test_only_its_owner_may_read_it_and_nothing_is_beside_it(log: EventLog, target: Path) -> None:
    """It holds what customers wrote; there is no file but the one that was named."""
    append_messages(log, ["ana"])
    back_up(log.store, target)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == [target.name]


def test_a_backup_is_a_log(log: EventLog, target: Path, tmp_path: Path) -> None:
    """It is opened like any other database, and appended to behind its last event."""
    append_messages(log, ["ana", "ben"])
    back_up(log.store, target)

    restored = EventLog(f"sqlite:///{shutil.copy(target, tmp_path / 'restored.db')}")
    restored.store.require_current()
    assert append_messages(restored, ["cleo"]) == [3]
    restored.store.close()


@pytest.mark.parametrize("has_links", [True, False])
def test_nothing_is_overwritten(
    log: EventLog,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_links: bool,  # noqa: FBT001
) -> None:
    """A file of that name stays as it is, though it came while pages were copied."""
    append_messages(log, ["ana"])
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)

    def take(_done: int, _all: int) -> None:
        target.write_text("mine")

    with pytest.raises(BackupError, match="is there already"):
        back_up(log.store, target, tell=take)
    with pytest.raises(BackupError, match="is there already"):
        back_up(log.store, target)

    assert target.read_text() == "mine"
    assert os.listdir(target.parent) == [target.name]


def refuse(*_: object) -> None:
    """Fail, as what a file system cannot do."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_the_name_comes_with_the_whole_content(
    log: EventLog, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one step: who is killed at whatever moment leaves no empty file under it."""
    append_messages(log, ["ana"])
    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "replace", refuse)

    made = back_up(log.store, target)

    assert made.size == target.stat().st_size > 0
    assert os.listdir(target.parent) == [target.name]


def test_a_name_that_could_not_be_given_is_free_again(
    log: EventLog, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no links, a backup fails and leaves nothing, so that it can be retried."""
    append_messages(log, ["ana"])
    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as also:
        also.setattr(Path, "replace", refuse)
        with pytest.raises(BackupError, match="Operation not permitted"):
            back_up(log.store, target)
    assert os.listdir(target.parent) == []

    back_up(log.store, target)

    assert len(read(target)) == 1
    assert os.listdir(target.parent) == [target.name]


def test_a_folder_that_is_not_there_is_told(log: EventLog, target: Path) -> None:
    """The message names the file, and why it cannot be."""
    with pytest.raises(BackupError, match=r"gone.events\.db: No such file or directory"):
        back_up(log.store, target.parent / "gone" / "events.db")


def test_a_log_with_a_gap_is_not_backed_up(log: EventLog, target: Path) -> None:
    """A backup that could not be relied on is told of, and not kept."""
    append_messages(log, ["ana", "ben", "cleo"])
    with log.store.writing() as connection:
        event = log.store.tables.event
        connection.execute(delete(event).where(event.c.position == 2))

    with pytest.raises(BackupError, match="1 event between 1 and the head, 3, missing"):
        back_up(log.store, target)

    assert os.listdir(target.parent) == []


def test_a_damaged_file_is_not_backed_up(log: EventLog, tmp_path: Path, target: Path) -> None:
    """SQLite's own check finds what no query of the log would."""
    append(log, *(make_entry(text="x" * 1_000) for _ in range(200)))
    with log.store.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        find = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_event_subject_position'"
        page = connection.exec_driver_sql(find).scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    log.store.close()
    with (tmp_path / "router.db").open("r+b") as file:
        file.seek((page - 1) * size + size // 2)
        file.write(b"\xff" * 64)
    store = Store(f"sqlite:///{tmp_path / 'router.db'}")

    with pytest.raises(BackupError, match="is damaged"):
        back_up(store, target)

    assert os.listdir(target.parent) == []
    store.close()


@pytest.mark.parametrize("revision", ["0001", "0005"])
def test_older_revisions_are_backed_up(tmp_path: Path, target: Path, revision: str) -> None:
    """A backup is what one makes before an upgrade, with the new version at hand."""
    store = Store(f"sqlite:///{tmp_path / 'old.db'}", create=True)
    migrate.upgrade(store.engine, store.tables, revision=revision)

    assert back_up(store, target).position == 0
    store.close()
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT version_num FROM router_schema_version").fetchall() == [
            (revision,)
        ]


def test_a_database_without_a_log_is_refused(tmp_path: Path, target: Path) -> None:
    """Else somebody would rely on a backup of nothing."""
    store = Store(f"sqlite:///{tmp_path / 'empty.db'}", create=True)

    with pytest.raises(SchemaError, match="no log to back up"):
        back_up(store, target)
    store.close()


def test_postgresql_has_backups_of_its_own(postgres_store: Store, target: Path) -> None:
    """The message says which."""
    with pytest.raises(BackupError, match="pg_dump or pg_basebackup"):
        back_up(postgres_store, target)
