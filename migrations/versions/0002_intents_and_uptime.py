"""What operators ask for, and what limits count from: uptime, attempts before a redrive."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# SQLite makes a column the row's own number only where it is called INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    options = op.get_context().opts
    schema, prefix = options["schema"], options["table_prefix"]

    def add(table: str, *columns: sa.Column[object]) -> None:
        for column in columns:
            op.add_column(prefix + table, column, schema=schema)

    add("worker", sa.Column("subscriptions", sa.Text(), server_default="[]", nullable=False))
    add("lane", sa.Column("uptime", sa.BigInteger(), server_default="0", nullable=False))
    add(
        "parked",
        sa.Column("uptime", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("intent", sa.BigInteger()),
    )
    op.create_table(
        prefix + "intent",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("subscription", sa.String(255), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("position", NUMBER),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{prefix}intent")),
        schema=schema,
    )


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")
