"""Programs that run the command with one promise broken, so that a test proves that it can fail."""

from tests.faults.server import COMMAND

WEAKER = """
from router import sqlite

set_up = sqlite._set_up

def set_up_weaker(connection, entry):
    set_up(connection, entry)
    connection.execute("PRAGMA synchronous = {level}")

sqlite._set_up = set_up_weaker
"""

ANSWERS_FIRST = f"""
import asyncio, time
from router.log import EventLog
from router.rows import Appended
from router.writer import Writer

append_later, append_slowly = Writer.append, EventLog.append_prepared
tasks = []

async def append(self, entry):
    tasks.append(asyncio.ensure_future(append_later(self, entry)))
    return Appended((), 1)

def append_late(self, entries):
    time.sleep(0.2)
    return append_slowly(self, entries)

Writer.append, EventLog.append_prepared = append, append_late
{COMMAND}
"""
SYNCHRONOUS_OFF = WEAKER.format(level="OFF") + COMMAND
SYNCHRONOUS_NORMAL = WEAKER.format(level="NORMAL") + COMMAND
