"""Who changed what by command: one row for each, in the transaction that makes the change."""

import json
from collections.abc import Mapping

from sqlalchemy import Connection, insert

from router.store import Store


def record(
    connection: Connection,
    store: Store,
    *,
    actor: str,
    action: str,
    target: str,
    detail: Mapping[str, object],
) -> None:
    """Write down a change.

    Args:
        connection: Of the transaction that makes it.
        store: The database, by whose clock it is made.
        actor: Who wants it.
        action: The command, such as ``dead redrive``.
        target: What is changed.
        detail: Why, and how much; kept as JSON.
    """
    row = {"at": store.now(), "actor": actor, "action": action, "target": target}
    connection.execute(insert(store.tables.audit).values(**row, detail=json.dumps(detail)))
