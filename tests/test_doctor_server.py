"""Tests of `router.doctor.server`: what of a PostgreSQL server is no good place for a log."""

import time

import pytest
from sqlalchemy import text

from router.doctor import examine, server
from router.doctor.findings import Case
from router.store import Store


@pytest.fixture
def case(postgres_store: Store) -> Case:
    """An empty log on a sound server."""
    return Case(store=postgres_store, is_deep=False, clock=time.time)


def test_an_empty_log_on_a_sound_server_is_sound(case: Case) -> None:
    """Every check can be made, and none finds anything; those of files are not made."""
    found = {one.check: one for one in examine(case.store)}
    assert [one for one in found.values() if not one.is_sound] == []
    assert {"durability", "connections", "transactions", "bloat"} <= found.keys()
    assert not {"wal", "disk"} & found.keys()


def test_the_settings_are_shown(case: Case) -> None:
    """What commits wait for is named."""
    found = server.examine_durability(case).text
    assert found == "fsync=on, full_page_writes=on, synchronous_commit=on"


def test_a_limit_that_is_exceeded_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check says what was counted, and what to do."""
    monkeypatch.setattr(server, "MOST_SHARE", 0.001)
    monkeypatch.setattr(server, "MOST_BLOAT", 0)
    for found in (server.examine_connections(case), server.examine_bloat(case)):
        assert not found.is_sound
        assert found.advice
        assert any(digit in found.text for digit in "123456789")


def test_a_long_transaction_is_found(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps old rows from being cleared is named by the pid of the session."""
    monkeypatch.setattr(server, "LONGEST", 0)
    with case.store.engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        found = server.examine_transactions(case)
    assert not found.is_sound
    assert f"pid {pid} (idle in transaction)" in found.text
