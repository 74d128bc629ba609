"""Indexes without which a large log would be read as a whole: by time, and for its oldest need."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    _create("parked", "position")
    _create("blocked", "position")
    is_reparsed = sa.column("reparsed", sa.Boolean).is_(True)
    _create("event", "position", "notification_id", where=is_reparsed)
    if op.get_context().dialect.name == "postgresql":  # SQLite's holds the id anyway
        schema, prefix = _place()
        name = op.f(f"ix_{prefix}notification_received_at")
        op.drop_index(name, prefix + "notification", schema=schema)
        _create("notification", "received_at", include=["id"])


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")


def _create(
    name: str,
    *columns: str,
    where: sa.ColumnElement[bool] | None = None,
    include: list[str] | None = None,
) -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    schema, prefix = _place()
    index = op.f(f"ix_{prefix}{name}_{'_'.join(columns)}")
    op.create_index(
        index,
        prefix + name,
        list(columns),
        schema=schema,
        postgresql_where=where,
        postgresql_include=include,
        sqlite_where=where,
    )


def _place() -> tuple[str | None, str]:
    options = op.get_context().opts
    return options["schema"], options["table_prefix"]
