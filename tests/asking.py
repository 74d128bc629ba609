"""What operators ask for, and the owners of lanes who carry it out or are gone."""

from sqlalchemy import update

from router.claims import LIVE
from router.intents import Action, Intent, Intents
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.parking import Parked
from router.store import Store
from tests.records import read_parked


def ask(
    intents: Intents,
    store: Store,
    action: Action,
    *positions: int,
    run: int = LIVE,
    skip_to: int | None = None,
) -> Intent:
    """Ask for something in crm, of the dead letters at ``positions`` alone where there are any."""
    parked = store.tables.parked.c
    with store.writing() as connection:
        return intents.ask(
            connection,
            subscription="crm",
            run=run,
            action=action,
            actor="ana",
            position=skip_to,
            matching=[parked.position.in_(positions)] if positions else [],
        )


def carry_out(
    intents: Intents, log: EventLog, lane: Lane, intent: Intent, *, checkpoint: int = 0
) -> list[Parked]:
    """Do what the owner of ``lane`` does."""
    owner = Lanes(log.store, worker="w")
    with owner.owning(lane, checkpoint=checkpoint, done=[]) as connection:
        return intents.carry_out(connection, lane, intent)


def free_lanes(store: Store, **values: object) -> None:
    """Give all lanes back, in the manner of a clean stop unless ``values`` say otherwise."""
    row = {"owner": None, "expires_at": None} | values
    with store.writing() as connection:
        connection.execute(update(store.tables.lane).values(**row))


def states(store: Store, run: int = LIVE) -> dict[int, str]:
    """Return the state of each parked delivery of crm."""
    return {position: row.state for position, row in read_parked(store, run=run).items()}
