"""Tests of `router doctor`: a line for each check, and exit codes for programs."""

import sqlite3
from pathlib import Path

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append_messages
from tests.histories import park, settle, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A log of two events, of which one is a dead letter."""
    append_messages(log, ["ana", "ben"])
    [lane] = subscribe(log)
    park(log, 1)
    settle(log, lane, checkpoint=2)
    return log


def test_a_fresh_database_is_well(run: Run) -> None:
    """It exits 0 with a line for each check."""
    result = run("doctor")

    heading, *lines = result.out.splitlines()
    assert (result.code, result.err) == (0, "")
    assert heading.split() == ["CHECK", "STATE", "FOUND", "ADVICE"]
    assert {line.split()[1] for line in lines} == {"ok"}
    assert lines[0].startswith("schema ")
    assert lines[0].endswith(" -")


def test_a_problem_is_told_with_what_to_do(full: EventLog, run: Run) -> None:
    """It exits 3, and the line says what, where and what to do."""
    with full.store.writing() as connection:
        connection.execute(
            full.store.tables.event.delete().where(full.store.tables.event.c.position == 1)
        )

    result = run("doctor", "--deep")

    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert result.code == 3
    assert lines["positions"].split()[1] == "problem"
    assert "1 event between 1 and the head, 2, missing, the first at 1" in lines["positions"]
    assert "restore the database" in lines["positions"]
    assert lines["schema"].split()[1] == "ok"


def test_programs_get_json(full: EventLog, run: Run) -> None:
    """Each check has its name, whether all is well, what was found, and advice where it is not."""
    with full.store.writing() as connection:
        connection.execute(full.store.tables.subscription.update().values(state="failing"))

    result = run("doctor", "--json")

    found = {one["check"]: one for one in result.data}
    assert result.code == 3
    assert [list(one) for one in result.data] == [["check", "ok", "text", "advice"]] * 20
    assert [name for name, one in found.items() if not one["ok"]] == ["states"]
    assert found["states"]["text"] == "crm is failing"
    assert "last error" in found["states"]["advice"]
    assert (found["schema"]["ok"], found["schema"]["advice"]) == (True, None)


def test_looking_changes_nothing(full: EventLog, run: Run, tmp_path: Path) -> None:
    """Every row is as it was, and a database that is not there is not made."""
    full.store.close()

    def dump() -> list[str]:
        with sqlite3.connect(tmp_path / "router.db") as connection:
            return list(connection.iterdump())

    before = dump()

    assert run("doctor", "--deep").code == 0
    assert dump() == before


@pytest.mark.parametrize("content", [None, b"not a database" * 1_000])
def test_what_cannot_be_examined_is_a_failure(run: Run, content: bytes | None) -> None:
    """Without a database, or with a file that is none, it exits 1 and says so."""
    path = Path("other.db")
    if content is not None:
        path.write_bytes(content)

    result = run("doctor", "--database", f"sqlite:///{path}")

    assert (result.code, result.out) == (1, "")
    assert ("no database" if content is None else "not a database") in result.err
    assert path.exists() == (content is not None)


def test_a_database_without_tables_is_a_problem(run: Run) -> None:
    """It says how to make them."""
    sqlite3.connect("empty.db").close()

    result = run("doctor", "--database", "sqlite:///empty.db")

    assert result.code == 3
    assert "`router db upgrade`" in result.out.splitlines()[1]
