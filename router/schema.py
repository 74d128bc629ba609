"""The tables, all in one place and small enough to learn by heart.

Portable types only. Times are microseconds since 1970 in UTC, `positions` have no gaps.
"""

from dataclasses import dataclass, fields

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    column,
    false,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# Taken before tables are made or changed: whoever comes second waits, and then finds the work done.
LOCKS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(1819239282, 1)",
}

# SQLite makes a column the row's own number only where it is called INTEGER.
Position = BigInteger().with_variant(Integer(), "sqlite")
_LATE = column("reparsed", Boolean).is_(True)


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one log under one schema and prefix."""

    head: Table
    notification: Table
    event: Table
    dedupe_a: Table
    dedupe_b: Table
    subscription: Table
    worker: Table
    lane: Table
    parked: Table
    blocked: Table
    attempt: Table
    replay: Table
    alias: Table
    intent: Table
    audit: Table

    @property
    def metadata(self) -> MetaData:
        """The `MetaData` that holds them and nothing else."""
        return self.head.metadata

    @property
    def schema(self) -> str | None:
        """The schema that they live in, or None for the database's default."""
        return self.head.schema

    @property
    def prefix(self) -> str:
        """What stands before each table's name."""
        return self.head.name.removesuffix("head")

    @property
    def version(self) -> str:
        """The name of the table that holds the revision; a host may have one too."""
        return self.prefix + "router_schema_version"

    @property
    def view(self) -> str:
        """The name of the view for analysts: each event with the JSON text of its payload."""
        return self.prefix + "event_payload"

    @property
    def dedupe(self) -> tuple[Table, Table]:
        """The two generations of the dedupe memory, in the order that `head.generation` names."""
        return self.dedupe_a, self.dedupe_b


def make_tables(*, schema: str | None = None, prefix: str = "") -> Tables:
    """Return the tables, on a `MetaData` of their own."""
    metadata = MetaData(schema=schema, naming_convention=NAMING)
    columns = {**_log(), **_delivery(), **_operation()}
    tables = {name: Table(prefix + name, metadata, *items) for name, items in columns.items()}
    for name in ("dedupe_a", "dedupe_b"):
        tables[name].dialect_options["sqlite"]["with_rowid"] = False
    return Tables(**{field.name: tables[field.name] for field in fields(Tables)})


Items = dict[str, list[Column[object] | Index]]


def _log() -> Items:
    return {
        # One row. Appends lock it first and move it last: that makes positions gapless and ordered.
        "head": [
            Column("log", String(32), primary_key=True),
            Column("position", Position, nullable=False),
            Column("generation", SmallInteger, nullable=False),  # of dedupe: where new keys go
            Column("rotated_at", BigInteger, nullable=False),
            Column("appended_at", BigInteger, nullable=False),  # log time: of the last append
        ],
        # One HTTP request, verbatim. Its id is the position of its first event.
        "notification": [
            Column("id", Position, primary_key=True, autoincrement=False),
            Column("source", String(255), nullable=False),
            Column("received_at", BigInteger, nullable=False),
            Column("headers", Text, nullable=False),  # JSON
            Column("body", LargeBinary, nullable=False),
            Column("queryable", Boolean, nullable=False),  # safe for the engine's JSON functions
            Column("trace", Text),  # in which it was received, see `router.events`
            Index(None, "received_at", postgresql_include=["id"]),  # SQLite's holds it anyway
        ],
        "event": [
            Column("position", Position, primary_key=True, autoincrement=False),
            Column("id", String(36), nullable=False),
            Column("key", LargeBinary(16), nullable=False),
            Column("notification_id", Position, nullable=False),
            Column("path", Text, nullable=False),
            Column("type", String(16), nullable=False),
            Column("subtype", Text, nullable=False),
            Column("channel", Text, nullable=False),
            Column("subject", Text, nullable=False),
            Column("shard", SmallInteger, nullable=False),
            Column("external_id", Text),
            Column("occurred_at", BigInteger),
            Column("reparsed", Boolean, nullable=False),  # found by splitting the body again
            # Of these: whether live subscriptions pass over it.
            Column("quiet", Boolean, nullable=False, server_default=false()),
            Index(None, "type", "position"),
            Index(None, "channel", "position"),
            Index(None, "subject", "position"),
            # Of the few events that stand far above the notification that they were found in.
            Index(None, "position", "notification_id", postgresql_where=_LATE, sqlite_where=_LATE),
        ],
        # The dedupe memory, in two generations: one is filled while the other is remembered.
        "dedupe_a": _dedupe(),
        "dedupe_b": _dedupe(),
        # One contact under two names (phone and user id), so that both share one subject.
        "alias": [
            Column("channel", String(255), primary_key=True),
            Column("contact", String(255), primary_key=True),
            Column("conversation", Text, nullable=False),
        ],
    }


def _dedupe() -> list[Column[object] | Index]:
    return [
        Column("key", LargeBinary(16), primary_key=True),
        Column("position", Position, nullable=False),
    ]


def _run() -> list[Column[object] | Index]:
    """Whose progress: a subscription's, live (run 0) or in a replay (the replay's id)."""
    return [
        Column("subscription", String(255), primary_key=True),
        Column("run", BigInteger, primary_key=True, autoincrement=False),
    ]


def _delivery() -> Items:
    return {
        "subscription": [
            Column("name", String(255), primary_key=True),
            Column("created_at", BigInteger, nullable=False),
            Column("start_position", Position, nullable=False),  # the last one it does not get
            Column("types", Text, nullable=False),  # JSON: event type -> replay policy
            Column("options", Text, nullable=False),  # JSON
            Column("state", String(16), nullable=False),
            Column("state_reason", Text),
            Column("last_error", Text),
        ],
        "worker": [
            Column("id", String(36), primary_key=True),
            Column("host", Text, nullable=False),
            Column("pid", Integer, nullable=False),
            Column("started_at", BigInteger, nullable=False),
            Column("seen_at", BigInteger, nullable=False),
            Column("subscriptions", Text, nullable=False, server_default="[]"),  # JSON: their names
        ],
        # A contiguous range of shards: what one process owns. The rows of a run tile 0 to 1023.
        "lane": [
            *_run(),
            Column("first_shard", SmallInteger, primary_key=True, autoincrement=False),
            Column("last_shard", SmallInteger, nullable=False),
            Column("checkpoint", Position, nullable=False),  # settled up to here
            Column("done", Text, nullable=False),  # JSON: [[first, last], ...] settled above it
            Column("owner", String(36)),
            Column("epoch", BigInteger, nullable=False),  # fences out former owners
            Column("expires_at", BigInteger),
            Column("takeovers", Integer, nullable=False),  # of an expired lease, without progress
            # Microseconds in which somebody ran it, as far as they were written down.
            Column("uptime", BigInteger, nullable=False, server_default="0"),
        ],
        # A failed delivery that waits for its next attempt (retry), or was given up (dead).
        "parked": [
            *_run(),
            Column("position", Position, primary_key=True, autoincrement=False),
            Column("subject", Text, nullable=False),
            Column("shard", SmallInteger, nullable=False),
            Column("type", String(16), nullable=False),
            Column("state", String(16), nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("parked_at", BigInteger, nullable=False),
            Column("next_at", BigInteger),
            Column("error", Text, nullable=False),
            # The limits count from the first attempt or the last redrive: the lane's uptime then,
            # and how many attempts had been made.
            Column("uptime", BigInteger, nullable=False, server_default="0"),
            Column("spent", Integer, nullable=False, server_default="0"),
            Column("intent", BigInteger),  # the id of what an operator wants done with it
            Index(None, "subscription", "run", "state", "next_at"),
            Index(None, "position"),
        ],
        # A subject whose later events wait: everything of it above `position` is still to do.
        "blocked": [
            *_run(),
            Column("subject", Text, primary_key=True),
            Column("shard", SmallInteger, nullable=False),
            Column("position", Position, nullable=False),
            Index(None, "position"),
        ],
        # Calls that failed and retries, the latter written down before the call.
        "attempt": [
            *_run(),
            Column("position", Position, primary_key=True, autoincrement=False),
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("started_at", BigInteger, nullable=False),
            Column("duration", Float),  # seconds
            Column("outcome", String(16), nullable=False),
            Column("error", Text),
            Column("traceback", Text),
        ],
    }


def _operation() -> Items:
    return {
        # A range of history handed to one subscription again.
        "replay": [
            Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
            Column("subscription", String(255), nullable=False),
            Column("state", String(16), nullable=False, index=True),
            Column("from_position", Position, nullable=False),
            Column("to_position", Position, nullable=False),  # the first one it does not get
            Column("filter", Text, nullable=False),  # JSON
            Column("include_effects", Boolean, nullable=False),
            Column("rate", Float),  # events a second
            Column("reason", Text, nullable=False),
            Column("created_by", Text, nullable=False),
            Column("created_at", BigInteger, nullable=False),
            Column("started_at", BigInteger),
            Column("finished_at", BigInteger),
            Column("total", BigInteger, nullable=False),
            Column("done", BigInteger, nullable=False),
            Column("failed", BigInteger, nullable=False),
            Column("last_error", Text),
            Column("concurrency", Integer),  # calls at a time
            # JSON: event type -> outcome -> how many
            Column("counts", Text, nullable=False, server_default="{}"),
            # Of a rebuild, JSON: the names of the tables that it fills anew; [] when that is over.
            Column("rebuilds", Text),
        ],
        # What an operator asked for, until the owners of the lanes have carried it out.
        "intent": [
            Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
            Column("subscription", String(255), nullable=False),
            Column("run", BigInteger, nullable=False),
            Column("action", String(16), nullable=False),  # redrive, discard or skip
            Column("position", Position),  # the last one that is skipped
            Column("actor", Text, nullable=False),
            Column("asked_at", BigInteger, nullable=False),
        ],
        # Who changed what by command, and why.
        "audit": [
            Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
            Column("at", BigInteger, nullable=False),
            Column("actor", Text, nullable=False),
            Column("action", String(64), nullable=False),
            Column("target", Text, nullable=False),
            Column("detail", Text, nullable=False),  # JSON
        ],
    }
