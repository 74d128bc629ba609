"""A log of many events, made by SQL in a few seconds: what plans of queries are tried on."""

from sqlalchemy import Connection, text

from router.store import Store

MICROS = 1_000_000
BEGAN = 1_767_000_000 * MICROS  # when the first event was received; the others each a second later
SUBJECTS = 20_000  # conversations
SHARE = 5  # percent of all events that a subject which talks a lot has: `BUSY`
BUSY = "42:c0"

# Of a thousand events; the rest are `other`.
TYPES = {"message": 300, "sent": 250, "delivered": 230, "read": 215, "error": 3}
FAILED = 20  # one event in so many is parked
OTHERS = 10  # subscriptions have them, `crm` among them
LANES = 8

# What the engines say in different words: 16 bytes that differ, and the length of a body.
_KEYS = {"sqlite": "randomblob(16)", "postgresql": "decode(md5(i::text), 'hex')"}
_BODIES = {
    "sqlite": "CAST('{\"n\":' || i || '}' AS BLOB)",
    "postgresql": "convert_to('{\"n\":' || i || '}', 'UTF8')",
}
_WHOSE = f"CASE WHEN i % {OTHERS} = 0 THEN 'crm' ELSE 'other' || (i % {OTHERS}) END"
_NUMBERS = (
    "WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n"
    " WHERE i < {count}) SELECT {columns} FROM n{more}"
)


def fill(store: Store, count: int) -> None:
    """Fill an empty log with ``count`` events, each in a notification of its own.

    The subscription `crm` is close behind, `old` far; `crm` and others have parked a part of all
    events, and block some of their subjects.
    """
    name = store.engine.dialect.name
    with store.engine.connect() as connection:
        _insert(connection, "notification", _notification(name), count=count)
        _insert(connection, "event", _event(name), count=count)
        for table, first, last in (("dedupe_a", 1, count // 2), ("dedupe_b", count // 2, count)):
            more = f" WHERE i > {first} AND i <= {last}"
            _insert(connection, table, f"{_KEYS[name]}, i", count=count, more=more)
        _insert(connection, "parked", _parked(count), count=count // FAILED)
        blocked = f"{_WHOSE}, 0, '42:c' || i, {_shard('i')}, i * {FAILED}"
        most = min(count // FAILED // 2, SUBJECTS - 1)
        _insert(connection, "blocked", blocked, count=most)
        attempt = f"{_WHOSE}, 0, i * {FAILED}, 1, {BEGAN}, 0.5, 'failed', 'KeyError', NULL"
        _insert(connection, "attempt", attempt, count=count // FAILED)
        _subscribe(connection, count)
        head = "UPDATE head SET position = :end, appended_at = :at"
        connection.execute(text(head), {"end": count, "at": BEGAN + count * MICROS})
        connection.commit()
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("VACUUM ANALYZE" if name == "postgresql" else "ANALYZE")


def _insert(
    connection: Connection, table: str, columns: str, *, count: int, more: str = ""
) -> None:
    rows = _NUMBERS.format(columns=columns, count=count, more=more)
    connection.exec_driver_sql(
        f"INSERT INTO {table} {rows}",  # nothing from outside
        execution_options={"no_parameters": True},
    )


def _notification(name: str) -> str:
    source = "CASE WHEN i % 10 = 0 THEN 'coreapp' ELSE 'wa' END"
    yes = {"sqlite": "1", "postgresql": "true"}[name]
    return f"i, {source}, {BEGAN} + i * {MICROS}, '{{}}', {_BODIES[name]}, {yes}, NULL"


def _event(name: str) -> str:
    kinds, end = "", 0
    for type_, share in TYPES.items():
        end += share
        kinds += f" WHEN i * 7919 % 1000 < {end} THEN '{type_}'"
    # Conversations go on for a while: neither one after the other, nor all at once.
    number = f"CASE WHEN i % 100 < {SHARE} THEN 0 ELSE i / 50 * 11 % {SUBJECTS - 1} + 1 END"
    no = {"sqlite": "0", "postgresql": "false"}[name]
    at = f"{BEGAN} + i * {MICROS}"
    return (
        f"i, 'id-' || i, {_KEYS[name]}, i, '$', CASE{kinds} ELSE 'other' END, 'text', '42',"
        f" '42:c' || ({number}), {_shard(number)}, 'wamid.' || i, {at}, {no}, {no}"
    )


def _shard(number: str) -> str:
    return f"({number}) * 37 % 1024"


def _parked(count: int) -> str:
    state = "CASE WHEN i % 4 = 0 THEN 'retry' ELSE 'dead' END"
    at = f"{BEGAN} + i * {MICROS}"
    due = f"CASE WHEN i % 4 = 0 THEN {at} END"
    return (
        f"{_WHOSE}, 0, i * {FAILED}, '42:c' || (i % {SUBJECTS}), {_shard(f'i % {SUBJECTS}')},"
        f" 'message', {state}, 1, {at}, {due}, 'KeyError', 0, 0, NULL"
    )


def _subscribe(connection: Connection, count: int) -> None:
    types = '{"message": "allow", "error": "allow"}'
    for name in ("crm", "old"):
        connection.execute(
            text(
                "INSERT INTO subscription (name, created_at, start_position, types, options, state)"
                " VALUES (:name, 1, 0, :types, '{}', 'active')"
            ),
            {"name": name, "types": types},
        )
        wide = 1024 // LANES
        connection.execute(
            text(
                "INSERT INTO lane VALUES"
                " (:name, 0, :first, :last, :checkpoint, '[]', NULL, 1, NULL, 0, 0)"
            ),
            [
                {
                    "name": name,
                    "first": first,
                    "last": first + wide - 1,
                    "checkpoint": count - 100 if name == "crm" else count // 2,
                }
                for first in range(0, 1024, wide)
            ],
        )
