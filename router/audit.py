"""Who changed what by command: one row for each, in the transaction that makes the change."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert

from router.schema import Tables


def record(
    connection: Connection,
    tables: Tables,
    *,
    at: int,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, object],
) -> None:
    """Write down a change.

    Args:
        connection: Of the transaction that makes it.
        tables: Those of the log.
        at: When, in microseconds since 1970.
        actor: Who wants it.
        action: The command, such as ``dead redrive``.
        target: What is changed.
        detail: Why, and how much; kept as JSON.
    """
    row = {"at": at, "actor": actor, "action": action, "target": target}
    connection.execute(insert(tables.audit).values(**row, detail=json.dumps(detail)))
