"""Which of the events that were found by splitting stored bodies again are for replays alone."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    options = op.get_context().opts
    schema, prefix = options["schema"], options["table_prefix"]
    op.add_column(
        prefix + "event",
        sa.Column("quiet", sa.Boolean(), server_default=sa.false(), nullable=False),
        schema=schema,
    )


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")
