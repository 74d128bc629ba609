"""Checks of the PostgreSQL server beneath the log."""

from sqlalchemy import text

from router.doctor.findings import Case, Finding, judge

_NEEDED = ("fsync", "full_page_writes")
_SETTINGS = (*_NEEDED, "synchronous_commit", "synchronous_standby_names")


def examine_durability(case: Case) -> Finding:
    """The server waits for its disk, as the router had it on a connection of its own."""
    with case.store.writing(alone=False) as connection:
        query = text("SELECT current_setting(:name)")
        found = {name: connection.scalar(query, {"name": name}) for name in _SETTINGS}
    shown = ", ".join(f"{name}={value}" for name, value in found.items() if value)
    is_durable = all(found[name] == "on" for name in _NEEDED)
    is_durable = is_durable and found["synchronous_commit"] != "off"
    return judge(
        "durability",
        [] if is_durable else [shown],
        sound=shown,
        advice="a crash loses or destroys what was answered 200: switch them on in postgresql.conf",
    )
