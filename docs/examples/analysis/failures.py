# /// script
# requires-python = ">=3.11"
# dependencies = ["notification-router[postgres]"]
#
# [tool.uv.sources]
# notification-router = { path = "../../..", editable = true }
# ///
"""Print what failed in the last hours, as CSV: when, for whom, with which code and why."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import read_only
from router import EventLog
from router.filters import Filter

hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24
log = EventLog(read_only.find_url())
rows = csv.writer(sys.stdout)
rows.writerow(["received_at", "subject", "message", "code", "title"])
recent = Filter(types=("error",), since=datetime.now(UTC) - timedelta(hours=hours))
for event in log.read(matching=recent):
    payload: Any = event.payload  # the element of the notification, as it was in JSON
    for error in payload.get("errors") or [payload]:  # those of a message; else it is one itself
        row = (event.received_at.isoformat(), event.subject, event.external_id)
        rows.writerow([*row, error.get("code"), error.get("title")])
