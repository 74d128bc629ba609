"""Tests of `router.dedicated`: one connection, lent out again and again."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine

from router.dedicated import Dedicated


class Set:
    """Makes dedicated connections to a file, and counts how many were opened.

    Attributes:
        opened: How many.
    """

    def __init__(self, path: Path, *, most: int = 1) -> None:
        self.engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        self.opened = 0
        self.dedicated = Dedicated(self.engine, set_up=self._count, most=most)

    def _count(self, connection: Connection) -> None:
        connection.exec_driver_sql("SELECT 1")
        self.opened += 1


@pytest.fixture
def made(tmp_path: Path) -> Set:
    """One of an empty database."""
    return Set(tmp_path / "some.db")


def test_it_is_opened_once(made: Set) -> None:
    """Whoever comes later gets the same connection, as it was set up."""
    with made.dedicated.lent() as first:
        first.commit()
    with made.dedicated.lent() as second:
        assert second is first
    assert made.opened == 1
    made.dedicated.close()


def test_it_never_goes_to_others(made: Set) -> None:
    """What was set up for one kind of work does not come out of the engine's pool for another."""
    with made.dedicated.lent() as connection:
        driver = connection.connection.driver_connection
    made.dedicated.close()
    with made.engine.connect() as other:
        assert other.connection.driver_connection is not driver


def test_a_failure_ends_it(made: Set) -> None:
    """What the failed one left open is gone with it, and the next one is new."""
    with pytest.raises(KeyError):
        fail(made.dedicated)
    with made.dedicated.lent() as other:
        assert other.exec_driver_sql("SELECT count(*) FROM some").scalar_one() == 0
    assert made.opened == 2
    made.dedicated.close()


def test_one_that_cannot_be_set_up_is_not_kept(made: Set) -> None:
    """It is set up anew for the next who comes."""
    set_up = iter([ValueError("broken"), None])

    def fail_first(_connection: Connection) -> None:
        if error := next(set_up):
            raise error

    dedicated = Dedicated(made.engine, set_up=fail_first)
    with pytest.raises(ValueError, match="broken"), dedicated.lent():
        pass
    with dedicated.lent() as connection:
        assert not connection.closed
    dedicated.close()


def test_it_is_closed_when_it_is_back(made: Set) -> None:
    """To close it does not wait for whoever has it; a second one that came of that is not kept."""
    with made.dedicated.lent() as first:
        made.dedicated.close()
        assert not first.closed
        with ThreadPoolExecutor(1) as thread:
            second = thread.submit(borrow, made.dedicated).result()
    assert second.closed
    with made.dedicated.lent() as third:
        assert third is first
    made.dedicated.close()
    assert first.closed


def test_as_many_are_kept_as_agreed(tmp_path: Path) -> None:
    """Those who borrow at the same time have one each; what is beyond the most is not kept."""
    made = Set(tmp_path / "some.db", most=2)
    with made.dedicated.lent() as one, made.dedicated.lent() as two, made.dedicated.lent() as three:
        assert len({one, two, three}) == made.opened == 3
    with made.dedicated.lent() as first, made.dedicated.lent() as second:
        assert {first, second} < {one, two, three}
    assert made.opened == 3
    assert [one.closed, two.closed, three.closed].count(True) == 1
    made.dedicated.close()
    assert first.closed
    assert second.closed


def test_a_failure_ends_one_alone(tmp_path: Path) -> None:
    """The other ones that are kept serve whoever comes next."""
    made = Set(tmp_path / "some.db", most=2)
    with made.dedicated.lent() as one, suppress(KeyError):
        fail(made.dedicated)
    with made.dedicated.lent() as next_one:
        assert next_one is one
    assert made.opened == 2
    made.dedicated.close()


def fail(dedicated: Dedicated) -> None:
    """Fail in the middle of a transaction."""
    with dedicated.lent() as connection:
        connection.exec_driver_sql("CREATE TABLE some (x)")
        connection.exec_driver_sql("INSERT INTO some VALUES (1)")
        raise KeyError


def borrow(dedicated: Dedicated) -> Connection:
    """Borrow the connection for a moment."""
    with dedicated.lent() as connection:
        return connection
