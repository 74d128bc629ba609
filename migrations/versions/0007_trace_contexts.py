"""The trace in which a notification was received, where its router traces."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(_table(), sa.Column("trace", sa.Text()), schema=op.get_context().opts["schema"])


def downgrade() -> None:
    op.drop_column(_table(), "trace", schema=op.get_context().opts["schema"])


def _table() -> str:
    # Its name is that of a log without schema and prefix: put it before.
    prefix: str = op.get_context().opts["table_prefix"]
    return prefix + "notification"
