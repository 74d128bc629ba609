"""${message}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    # Names are those of a log without schema and prefix: put them before each of ours.
    options = op.get_context().opts
    schema, prefix = options["schema"], options["table_prefix"]
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")
