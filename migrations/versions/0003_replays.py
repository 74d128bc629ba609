"""What replays are told beside their range, and what came of them by type."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    options = op.get_context().opts
    schema, prefix = options["schema"], options["table_prefix"]
    op.add_column(prefix + "replay", sa.Column("concurrency", sa.Integer()), schema=schema)
    counts = sa.Column("counts", sa.Text(), server_default="{}", nullable=False)
    op.add_column(prefix + "replay", counts, schema=schema)


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")
