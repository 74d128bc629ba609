"""Which tables a replay fills anew, where it is a rebuild."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    options = op.get_context().opts
    schema, prefix = options["schema"], options["table_prefix"]
    op.add_column(prefix + "replay", sa.Column("rebuilds", sa.Text()), schema=schema)


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")
