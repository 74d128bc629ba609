"""Tests of `router.postgresql`: what a pooler does to statements is told from what a row does."""

import pytest
from sqlalchemy import text

from router.errors import StoreError, Unavailable
from router.store import Store


def use_a_session_of_another(store: Store) -> None:
    """Execute a statement often enough to be prepared, where its name is taken."""
    with store.writing() as connection:
        for number in range(100):
            connection.exec_driver_sql(f"PREPARE _pg3_{number} AS SELECT 1")
        for _ in range(3):
            connection.execute(text("SELECT 1"))


def test_a_statement_that_a_pooler_left_behind_is_no_fault_of_a_row(postgres_database: str) -> None:
    """A session that holds another one's prepared statement is "not now": nothing is stored."""
    store = Store(f"{postgres_database}?prepare_threshold=1")
    with pytest.raises(Unavailable, match="already exists"):
        use_a_session_of_another(store)
    store.close()


def test_statements_are_not_prepared_at_their_first_use() -> None:
    """What is sent in one go to open a transaction cannot be: 0 is refused, not met later."""
    with pytest.raises(StoreError, match="prepare_threshold is a number from 1 on, or none"):
        Store("postgresql+psycopg://router@127.0.0.1/events?prepare_threshold=0")
