"""The fence: what records the progress of a lane, as the first statement of its owner's writes."""

from sqlalchemy import BigInteger, String, Table, Update, bindparam, or_, update

ANY = -1  # instead of an uptime: whatever it is


def make_fence(table: Table) -> Update:
    """Return the statement, which changes no row where the lane is not its owner's any more.

    Made once, it costs a tenth each time.
    """
    columns = table.c
    owner = bindparam("of_owner", type_=String)
    before = bindparam("uptime_before", type_=BigInteger)
    return (
        update(table)
        .where(
            columns.subscription == bindparam("name"),
            columns.run == bindparam("of_run"),
            columns.first_shard == bindparam("first"),
            columns.epoch == bindparam("of_epoch"),
            # A lane that was forgotten and is made anew counts its epochs from the start.
            or_(owner == "", columns.owner == owner),
            # The latter within a transaction that has recorded something already.
            or_(before == ANY, columns.uptime.in_((before, bindparam("new_uptime")))),
        )
        .values(
            checkpoint=bindparam("new_checkpoint"),
            done=bindparam("new_done"),
            expires_at=bindparam("new_expiry"),  # `renew` passes over what is locked here
            uptime=bindparam("new_uptime"),
            takeovers=bindparam("new_takeovers"),
        )
    )
