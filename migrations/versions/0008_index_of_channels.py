"""An index by channel, without which a list of one channel's events would read all of a log."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    schema, prefix = _place()
    op.create_index(_name(), f"{prefix}event", ["channel", "position"], schema=schema)


def downgrade() -> None:
    schema, prefix = _place()
    op.drop_index(_name(), f"{prefix}event", schema=schema)


def _name() -> str:
    _schema, prefix = _place()
    return op.f(f"ix_{prefix}event_channel_position")


def _place() -> tuple[str | None, str]:
    # Names are those of a log without schema and prefix: put them before each of ours.
    opts = op.get_context().opts
    return opts["schema"], opts["table_prefix"]
