"""A FastAPI application with an engine of its own, and the router mounted at /x/notify."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from sqlalchemy import create_engine, event, select

import crm
from router import Router
from router.plugins.whatsapp import WhatsApp

# On PostgreSQL: create_engine("postgresql+psycopg://…"), and none of what follows up to the router.
engine = create_engine("sqlite:///shop.db", connect_args={"isolation_level": None})


@event.listens_for(engine, "connect")
def keep_what_is_committed(connection: sqlite3.Connection, _record: object) -> None:
    """Set up SQLite so that a commit survives a power cut: the router insists on it."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


router = Router(
    engine,
    sources=[WhatsApp("wa", app_secrets=["env:WA_SECRET"], verify_token="env:WA_TOKEN")],
    plugins=[crm],
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Run the router between what the application itself starts and stops."""
    async with router:  # a mounted application's own lifespan never runs
        yield
    engine.dispose()  # the router leaves an engine that it was given as it is


app = FastAPI(lifespan=lifespan)
app.mount("/x/notify", router.asgi())


@app.get("/messages")
def list_messages() -> list[dict[str, str]]:
    """Show what the plugin has written."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(crm.messages)).mappings()]
