"""The first tables of the log, its head, and the view for analysts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite makes a column the row's own number only where it is called INTEGER.
POSITION = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_log()
    _create_subscriptions()
    _create_failures()
    _create_operation()
    _create_view()


def downgrade() -> None:
    raise NotImplementedError("a log is not taken back to older tables: restore a backup")


def _create_log() -> None:
    head = _create(
        "head",
        sa.Column("log", sa.String(32), nullable=False),
        _position("position"),
        sa.Column("generation", sa.SmallInteger(), nullable=False),
        _number("rotated_at"),
        _number("appended_at"),
        key=["log"],
    )
    first = {"log": "main", "position": 0, "generation": 0, "rotated_at": 0, "appended_at": 0}
    op.bulk_insert(head, [first])
    _create(
        "notification",
        _position("id"),
        sa.Column("source", sa.String(255), nullable=False),
        _number("received_at"),
        _text("headers"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("queryable", sa.Boolean(), nullable=False),
        key=["id"],
    )
    _index("notification", "received_at")
    _create_event()
    for name in ("dedupe_a", "dedupe_b"):
        _create(
            name,
            sa.Column("key", sa.LargeBinary(16), nullable=False),
            _position("position"),
            key=["key"],
            with_rowid=False,
        )
    _create(
        "alias",
        sa.Column("channel", sa.String(255), nullable=False),
        sa.Column("contact", sa.String(255), nullable=False),
        _text("conversation"),
        key=["channel", "contact"],
    )


def _create_event() -> None:
    _create(
        "event",
        _position("position"),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("key", sa.LargeBinary(16), nullable=False),
        _position("notification_id"),
        _text("path"),
        sa.Column("type", sa.String(16), nullable=False),
        _text("subtype"),
        _text("channel"),
        _text("subject"),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        _text("external_id", nullable=True),
        _number("occurred_at", nullable=True),
        sa.Column("reparsed", sa.Boolean(), nullable=False),
        key=["position"],
    )
    _index("event", "type", "position")
    _index("event", "subject", "position")


def _create_subscriptions() -> None:
    _create(
        "subscription",
        sa.Column("name", sa.String(255), nullable=False),
        _number("created_at"),
        _position("start_position"),
        _text("types"),
        _text("options"),
        sa.Column("state", sa.String(16), nullable=False),
        _text("state_reason", nullable=True),
        _text("last_error", nullable=True),
        key=["name"],
    )
    _create(
        "worker",
        sa.Column("id", sa.String(36), nullable=False),
        _text("host"),
        sa.Column("pid", sa.Integer(), nullable=False),
        _number("started_at"),
        _number("seen_at"),
        key=["id"],
    )
    _create(
        "lane",
        *_run(),
        sa.Column("first_shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("last_shard", sa.SmallInteger(), nullable=False),
        _position("checkpoint"),
        _text("done"),
        sa.Column("owner", sa.String(36)),
        _number("epoch"),
        _number("expires_at", nullable=True),
        sa.Column("takeovers", sa.Integer(), nullable=False),
        key=["subscription", "run", "first_shard"],
    )


def _create_failures() -> None:
    _create(
        "parked",
        *_run(),
        _position("position"),
        _text("subject"),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _number("parked_at"),
        _number("next_at", nullable=True),
        _text("error"),
        key=["subscription", "run", "position"],
    )
    _index("parked", "subscription", "run", "state", "next_at")
    _create(
        "blocked",
        *_run(),
        _text("subject"),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        _position("position"),
        key=["subscription", "run", "subject"],
    )
    _create(
        "attempt",
        *_run(),
        _position("position"),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        _number("started_at"),
        sa.Column("duration", sa.Float()),
        sa.Column("outcome", sa.String(16), nullable=False),
        _text("error", nullable=True),
        _text("traceback", nullable=True),
        key=["subscription", "run", "position", "number"],
    )


def _create_operation() -> None:
    _create(
        "replay",
        sa.Column("id", POSITION, nullable=False),
        sa.Column("subscription", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        _position("from_position"),
        _position("to_position"),
        _text("filter"),
        sa.Column("include_effects", sa.Boolean(), nullable=False),
        sa.Column("rate", sa.Float()),
        _text("reason"),
        _text("created_by"),
        _number("created_at"),
        _number("started_at", nullable=True),
        _number("finished_at", nullable=True),
        _number("total"),
        _number("done"),
        _number("failed"),
        _text("last_error", nullable=True),
        key=["id"],
    )
    _index("replay", "state")
    _create(
        "audit",
        sa.Column("id", POSITION, nullable=False),
        _number("at"),
        _text("actor"),
        sa.Column("action", sa.String(64), nullable=False),
        _text("target"),
        _text("detail"),
        key=["id"],
    )


# The view, once an engine. Its CASE keeps the engine from reading a body that it would refuse.

PAYLOADS = {
    # SQLite 3.45 and later take a BLOB for JSON of their own kind: it is cast to text first.
    "sqlite": "CASE WHEN n.queryable THEN CAST(n.body AS TEXT) -> e.path END",
    "postgresql": (
        # Strict, lest it look for elements within lists; silent, for there may be none.
        "CASE WHEN n.queryable THEN jsonb_path_query_first(convert_from(n.body, 'UTF8')::jsonb,"
        " ('strict ' || e.path)::jsonpath, silent => true)::text END"
    ),
}

TIMES = {
    # Integers are divided towards zero; before 1970 the second that has begun is one lower.
    "sqlite": (
        "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000 - ({0} % 1000000 < 0), 'unixepoch')"
        " || printf('.%06dZ', ({0} % 1000000 + 1000000) % 1000000)"
    ),
    "postgresql": (
        "to_char(timestamp 'epoch' + ({0} / 1000000) * interval '1 second'"
        " + ({0} % 1000000) * interval '1 microsecond', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    ),
}


def _create_view() -> None:
    engine = op.get_context().dialect.name
    op.execute(
        sa.text(
            f"CREATE VIEW {_name('event_payload')} AS"  # noqa: S608 - nothing from outside
            " SELECT e.position, e.id, e.key, e.notification_id, e.path, e.type, e.subtype,"
            " e.channel, e.subject, e.shard, e.external_id,"
            f" {TIMES[engine].format('e.occurred_at')} AS occurred_at, e.reparsed, n.source,"
            f" {TIMES[engine].format('n.received_at')} AS received_at,"
            f" {PAYLOADS[engine]} AS payload"
            f" FROM {_name('event')} e JOIN {_name('notification')} n"
            " ON n.id = e.notification_id"
        )
    )


def _name(name: str) -> str:
    schema, prefix = _place()
    preparer = op.get_context().dialect.identifier_preparer
    parts = [prefix + name] if schema is None else [schema, prefix + name]
    return ".".join(preparer.quote(part) for part in parts)


def _place() -> tuple[str | None, str]:
    """The schema of the tables, and what stands before their names."""
    options = op.get_context().opts
    return options["schema"], options["table_prefix"]


def _create(
    name: str, *columns: sa.Column[object], key: list[str], with_rowid: bool = True
) -> sa.Table:
    schema, prefix = _place()
    primary_key = sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{prefix}{name}"))
    return op.create_table(
        prefix + name, *columns, primary_key, schema=schema, sqlite_with_rowid=with_rowid
    )


def _index(name: str, *columns: str) -> None:
    schema, prefix = _place()
    index = op.f(f"ix_{prefix}{name}_{'_'.join(columns)}")
    op.create_index(index, prefix + name, list(columns), schema=schema)


def _position(name: str) -> sa.Column[object]:
    return sa.Column(name, POSITION, autoincrement=False, nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _run() -> list[sa.Column[object]]:
    """Whose progress: a subscription's, live (run 0) or in a replay (the replay's id)."""
    return [
        sa.Column("subscription", sa.String(255), nullable=False),
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
    ]
