"""How the event store of the library ``eventsourcing`` is set up on either engine."""

from collections.abc import Mapping

from psycopg.conninfo import conninfo_to_dict


def describe_postgresql(dsn: str, *, connections: int) -> Mapping[str, str]:
    """Return the environment of an application on the database that ``dsn`` leads to."""
    place = conninfo_to_dict(dsn)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(place["dbname"]),
        "POSTGRES_HOST": str(place["host"]),
        "POSTGRES_PORT": str(place["port"]),
        "POSTGRES_USER": str(place["user"]),
        "POSTGRES_PASSWORD": "",
        "POSTGRES_POOL_SIZE": str(connections),
    }


def describe_sqlite(file: str) -> Mapping[str, str]:
    """Return the environment of an application on a SQLite file."""
    return {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": file}
