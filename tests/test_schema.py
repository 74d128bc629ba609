"""The tables: where they live, and that what they are called stays apart from a host's own."""

import pytest
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateTable

from router.schema import make_tables


def test_a_log_has_its_own_metadata() -> None:
    """Two logs in one process share no tables."""
    one, other = make_tables(), make_tables()

    assert one.metadata is not other.metadata
    assert one.event is not other.event


def test_schema_and_prefix_reach_every_table() -> None:
    """Each table, the version table and the view stand under the schema and the prefix."""
    tables = make_tables(schema="crm", prefix="log_")

    assert (tables.schema, tables.prefix) == ("crm", "log_")
    assert {table.schema for table in tables.metadata.tables.values()} == {"crm"}
    assert all(str(table.name).startswith("log_") for table in tables.metadata.tables.values())
    assert (tables.version, tables.view) == ("log_router_schema_version", "log_event_payload")


def test_every_index_and_key_has_a_name_of_the_tables_own() -> None:
    """Names come from the prefixed table, so that two logs fit into one schema."""
    tables = make_tables(prefix="log_").metadata.tables.values()

    keys = {str(table.primary_key.name) for table in tables}
    indexes = {str(index.name) for table in tables for index in table.indexes}
    assert keys == {f"pk_{table.name}" for table in tables}
    assert indexes == {
        "ix_log_blocked_position",
        "ix_log_event_channel_position",
        "ix_log_event_position_notification_id",
        "ix_log_event_subject_position",
        "ix_log_event_type_position",
        "ix_log_notification_received_at",
        "ix_log_parked_position",
        "ix_log_parked_subscription_run_state_next_at",
        "ix_log_replay_state",
    }


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_positions_are_given_by_the_log(dialect: str) -> None:
    """No engine numbers events or notifications by itself."""
    tables = make_tables()

    for table in (tables.event, tables.notification):
        statement = str(CreateTable(table).compile(dialect=registry.load(dialect)()))
        assert "SERIAL" not in statement
        assert "IDENTITY" not in statement


def test_the_dedupe_memory_is_one_tree_on_sqlite() -> None:
    """A remembered key costs one row in one B-tree, not a row and an index entry."""
    for table in make_tables().dedupe:
        assert "WITHOUT ROWID" in str(CreateTable(table).compile(dialect=registry.load("sqlite")()))
