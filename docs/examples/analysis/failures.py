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

import read_only
from router import EventLog
from router.filters import Filter

hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24
log = EventLog(read_only.find_url())
rows = csv.writer(sys.stdout)
rows.writerow(["received_at", "subject", "message", "code", "title"])
recent = Filter(types=("error",), since=datetime.now(UTC) - timedelta(hours=hours))
for event in log.read(matching=recent):
    for error in event.payload.get("errors", [event.payload]):  # of a message; else out of band
        told = (error.get("code"), error.get("title"))
        rows.writerow([event.received_at.isoformat(), event.subject, event.external_id, *told])
