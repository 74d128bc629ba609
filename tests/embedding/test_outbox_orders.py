"""Whatever a host commits, undoes and rolls back, and in what order: what was left is there."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from router import Router
from router.log import EventLog
from tests.embedding.hosts import append, find_accounts, open_account


class Step(NamedTuple):
    """A part of a transaction, in a savepoint where it may be undone.

    Attributes:
        names: What is appended, and opened as an account.
        is_undone: Whether a savepoint takes it back.
    """

    names: list[str]
    is_undone: bool


class Transaction(NamedTuple):
    """A host's transaction, or, without one, appends of the router's own.

    Attributes:
        steps: Its parts.
        is_hosts: Whether it is the host's.
        is_kept: Whether the host commits it.
    """

    steps: list[Step]
    is_hosts: bool
    is_kept: bool


NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=3)
TRANSACTIONS = st.builds(
    Transaction,
    st.lists(st.builds(Step, NAMES, st.booleans()), max_size=3),
    st.booleans(),
    st.booleans(),
)


class Model:
    """What should be in the log, and what a host should have.

    Attributes:
        known: The names in the order of their events.
        accounts: Of the host.
    """

    def __init__(self) -> None:
        self.known: list[str] = []
        self.accounts: list[str] = []

    def append(self, name: str) -> tuple[int, ...]:
        """Return which position it gets, if any."""
        if name in self.known:
            return ()
        self.known.append(name)
        return (len(self.known),)


@pytest.fixture(scope="module")
def rounds() -> Iterator[int]:
    """Numbers for the examples, each of which has names of its own in one log."""
    return iter(range(1_000_000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=st.lists(TRANSACTIONS, max_size=6))
def test_the_log_holds_what_was_left(
    transactions: list[Transaction], router: Router, host: Engine, rounds: Iterator[int]
) -> None:
    """Positions have no gap and are in the order of commits; what is known, and only that, is."""
    model, number, start = Model(), next(rounds), router.log.head()
    for one in transactions:
        if one.is_hosts:
            before = list(model.known), list(model.accounts)
            with host.connect() as connection:
                act(one, model, router, connection, mark=f"{number}-", start=start)
                if one.is_kept:
                    connection.commit()
                else:
                    connection.rollback()
                    model.known, model.accounts = before
        else:
            for name in [name for step in one.steps for name in step.names]:
                expected = tuple(start + at for at in model.append(name))
                assert append(router, f"{number}-{name}").positions == expected
        assert read(router.log, start) == [
            (start + at, f"bank:{number}-{name}") for at, name in enumerate(model.known, 1)
        ]
    opened = [one for one in find_accounts(host) if one.startswith(f"{number}-")]
    assert opened == sorted(f"{number}-{name}" for name in model.accounts)


def act(
    one: Transaction, model: Model, router: Router, connection: Connection, *, mark: str, start: int
) -> None:
    """Do what the host's transaction is about, here and in the model."""
    for step in one.steps:
        before = list(model.known), list(model.accounts)
        point = connection.begin_nested()
        for name in step.names:
            open_account(connection, mark + name)
            model.accounts.append(name)
            expected = tuple(start + at for at in model.append(name))
            assert append(router, mark + name, connection=connection).positions == expected
        if step.is_undone:
            point.rollback()
            model.known, model.accounts = before
        else:
            point.commit()


def read(log: EventLog, after: int) -> list[tuple[int, str]]:
    """Return what stands behind a position; the head is where that ends."""
    found = [(event.position, event.subject) for event in log.read(after=after)]
    assert log.head() == after + len(found)
    return found
