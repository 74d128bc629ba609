"""What hangs on a plugin's tables in PostgreSQL, and moves along with their names or forbids it."""

# ruff: noqa: S608 - statements are made of constants alone

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, text

LOCK_MILLIS = 500  # that a change of names waits for readers, and others behind it wait for it

_OURS = "c.oid = ANY(CAST(:tables AS oid[]))"
_READING = f"""
    FROM pg_depend d
    JOIN pg_rewrite r ON r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class
    JOIN pg_class c ON c.oid = d.refobjid
    WHERE {_OURS} AND d.classid = 'pg_rewrite'::regclass
    AND d.refclassid = 'pg_class'::regclass AND v.oid <> c.oid
"""

# Each gives the name of a table, and that of what hangs on it. A fresh table would lack that, and
# so would whoever relies on it; or it would go on to stand for the old one.
_HINDRANCES = {
    "belongs to the role {other}, which is not ours": f"""
        SELECT c.relname, pg_get_userbyid(c.relowner) AS other FROM pg_class c
        WHERE {_OURS} AND NOT pg_has_role(c.relowner, 'USAGE')
    """,
    "is read by the materialized view {other}": f"""
        SELECT c.relname, v.relname AS other {_READING} AND v.relkind = 'm'
    """,
    "is read by the view {other}, which belongs to another role": f"""
        SELECT c.relname, v.relname AS other {_READING} AND v.relkind = 'v'
        AND NOT pg_has_role(v.relowner, 'USAGE')
    """,
    "has the trigger {other}": f"""
        SELECT c.relname, t.tgname AS other FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE {_OURS} AND NOT t.tgisinternal
    """,
    "has the rule {other}": f"""
        SELECT c.relname, r.rulename AS other FROM pg_rewrite r
        JOIN pg_class c ON c.oid = r.ev_class WHERE {_OURS}
    """,
    "is what the foreign key {other} points to": f"""
        SELECT c.relname, f.conname AS other FROM pg_constraint f
        JOIN pg_class c ON c.oid = f.confrelid WHERE {_OURS} AND f.contype = 'f'
    """,
    "has row-level security": f"""
        SELECT c.relname, '' AS other FROM pg_class c WHERE {_OURS} AND c.relrowsecurity
    """,
    "is published by {other}": f"""
        SELECT c.relname, p.pubname AS other FROM pg_publication p
        JOIN pg_publication_rel m ON m.prpubid = p.oid JOIN pg_class c ON c.oid = m.prrelid
        WHERE {_OURS}
    """,
    "has a part or is one, {other}": f"""
        SELECT c.relname, i.inhrelid::regclass::text AS other FROM pg_inherits i
        JOIN pg_class c ON c.oid IN (i.inhrelid, i.inhparent) WHERE {_OURS}
    """,
}

_VIEWS = f"""
    SELECT DISTINCT v.oid::regclass::text AS name, v.reloptions AS options,
    pg_get_viewdef(v.oid) AS body {_READING} AND v.relkind = 'v' ORDER BY 1
"""

_OWNERS = f"SELECT quote_ident(pg_get_userbyid(c.relowner)) FROM pg_class c WHERE {_OURS}"

# Of a table, and of single columns of it.
_WHO = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who"
_GRANTS = f"""
    SELECT a.privilege_type AS what, a.is_grantable, '' AS columns, {_WHO}
    FROM pg_class c, aclexplode(c.relacl) a WHERE {_OURS} AND a.grantee <> c.relowner
    UNION ALL SELECT a.privilege_type, a.is_grantable, '(' || quote_ident(o.attname) || ')', {_WHO}
    FROM pg_class c JOIN pg_attribute o ON o.attrelid = c.oid, aclexplode(o.attacl) a
    WHERE {_OURS} AND NOT o.attisdropped
"""


def find_hindrance(connection: Connection, names: Iterable[str]) -> str | None:
    """Return why no other tables can take the place of these; None where they can.

    Args:
        connection: To read from.
        names: Of the tables; some may not be there.
    """
    if connection.dialect.name != "postgresql":
        return None
    tables = _find(connection, names)
    for what, query in _HINDRANCES.items():
        row = connection.execute(text(query), {"tables": tables}).first()
        if row is not None:
            said = what.format(other=repr(row.other))
            return f"its table {row.relname!r} {said}, and a fresh one would not be that"
    return None


def lock(connection: Connection, names: Iterable[str]) -> None:
    """Keep all others from these tables until the end of the transaction, or give up soon."""
    if connection.dialect.name != "postgresql":
        return
    quote = connection.dialect.identifier_preparer.quote
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {LOCK_MILLIS}")
    there = [name for name in names if _find(connection, [name])]
    if there:
        listed = ", ".join(map(quote, there))
        connection.exec_driver_sql(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")


def list_moves(connection: Connection, names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return statements that make fresh tables look to others like those whose place they take.

    Args:
        connection: To read from.
        names: Of fresh tables, by those of the others.

    Returns:
        Those before the change of names, which give the same rights on the fresh tables, and those
        after it: views read tables, whatever these are called, until they are told anew.
    """
    if connection.dialect.name != "postgresql":
        return [], []
    quote = connection.dialect.identifier_preparer.quote
    before: list[str] = []
    for name, fresh in names.items():
        before += _list_rights(connection, name, fresh, quote(fresh))
    views = connection.execute(text(_VIEWS), {"tables": _find(connection, names)})
    return before, [_tell_view(row) for row in views]


def _list_rights(connection: Connection, name: str, fresh: str, quoted: str) -> Iterator[str]:
    tables = _find(connection, [name])
    owners = [
        connection.scalars(text(_OWNERS), {"tables": one}).first()
        for one in (tables, _find(connection, [fresh]))
    ]
    for row in connection.execute(text(_GRANTS), {"tables": tables}):
        also = " WITH GRANT OPTION" if row.is_grantable else ""
        yield f"GRANT {row.what} {row.columns} ON TABLE {quoted} TO {row.who}{also}"
    if None not in owners and owners[0] != owners[1]:
        yield f"ALTER TABLE {quoted} OWNER TO {owners[0]}"


def _tell_view(row: Row[*tuple[Any, ...]]) -> str:
    options = f" WITH ({', '.join(row.options)})" if row.options else ""
    return f"CREATE OR REPLACE VIEW {row.name}{options} AS {row.body}"


def _find(connection: Connection, names: Iterable[str]) -> list[int]:
    """Return the numbers by which the server knows those tables that are there."""
    quote = connection.dialect.identifier_preparer.quote
    query = text("SELECT CAST(to_regclass(:name) AS oid)")
    found = [connection.scalars(query, {"name": quote(name)}).one() for name in names]
    return [int(one) for one in found if one is not None]
