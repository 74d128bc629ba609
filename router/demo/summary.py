"""The last act: how the log and its subscriptions stand, as the database says."""

from collections.abc import Mapping, Sequence

from rich.text import Text
from sqlalchemy import func, select

from router.demo.scene import BAD
from router.demo.stage import Stage
from router.events import EVENT_TYPES
from router.replay import Replays
from router.replay_record import Replay
from router.status import Status, SubscriptionStatus

MANY = 100  # replays; the demo makes one


def sum_up(stage: Stage, *, known: int, refused: Mapping[int, int]) -> None:
    """Show what is in the log and how the subscriptions stand, once all of them have caught up.

    Args:
        stage: Where.
        known: How many events came again, which leaves no trace in the database.
        refused: How many requests were refused, by status, which leaves none either.

    Raises:
        DemoFailed: A subscription does not catch up.
    """
    status = Status(stage.log.store)
    stage.scene.heading("What the log holds, and what it does not")

    def look() -> list[SubscriptionStatus] | None:
        found = status.subscriptions()
        return None if any(one.lag or one.retrying for one in found) else found

    found = stage.wait(look, awaited="every subscription to come to the end of the log")
    stage.scene.columns(_list_log(stage, known=known, refused=refused), right=[1])
    stage.scene.line()
    replays = Replays(stage.log).list(limit=MANY)
    stage.scene.columns(_list_subscriptions(found, replays), right=[1, 2, 3, 4])
    stage.scene.pause(0.6)


def _list_log(stage: Stage, *, known: int, refused: Mapping[int, int]) -> list[list[str | Text]]:
    counts = stage.log.count_by_type()
    types = ", ".join(f"{counts[type_]} {type_}" for type_ in EVENT_TYPES if type_ in counts)
    reasons = " and ".join(str(status) for status in sorted(refused, reverse=True))
    return [
        ["notifications", _number(_count_notifications(stage)), "byte for byte as they came"],
        ["events", _number(sum(counts.values())), types],
        ["came again", _number(known), "known by their ids: not stored a second time"],
        ["refused", _number(sum(refused.values())), f"answered {reasons}: not stored at all"],
    ]


def _number(number: int) -> Text:
    return Text(str(number), "bold")


def _count_notifications(stage: Stage) -> int:
    table = stage.log.store.tables.notification
    with stage.log.store.reading() as connection:
        return connection.scalars(select(func.count()).select_from(table)).one()


def _list_subscriptions(
    found: Sequence[SubscriptionStatus], replays: Sequence[Replay]
) -> list[list[str | Text]]:
    names = ("subscription", "checkpoint", "lag", "retrying", "dead", "replay")
    rows: list[list[str | Text]] = [[Text(name, "dim") for name in names]]
    for one in found:
        mine = [f"{r.done} of {r.total} {r.state}" for r in replays if r.subscription == one.name]
        rows.append(
            [
                Text(one.name, "bold"),
                f"{one.checkpoint} of {one.head}",
                str(one.lag),
                str(one.retrying),
                Text(str(one.dead), BAD if one.dead else ""),
                ", ".join(mine) or "-",
            ]
        )
    return rows
