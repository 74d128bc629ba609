# /// script
# requires-python = ">=3.11"
# dependencies = ["notification-router[postgres]", "pandas"]
#
# [tool.uv.sources]
# notification-router = { path = "../../..", editable = true }
# ///
"""What became of our messages: a notebook of cells, `# %%`, over the view `event_payload`."""

# %% The log, and what was said of each message
import json

import pandas as pd
from sqlalchemy import create_engine, text

import read_only

STATUSES = """SELECT type, external_id, occurred_at, received_at FROM event_payload
    WHERE type IN ('sent', 'delivered', 'read') ORDER BY position"""
FAILURES = "SELECT payload FROM event_payload WHERE type = 'error' AND payload IS NOT NULL"

engine = create_engine(read_only.find_url())
with engine.connect() as connection:  # no longer than it takes: a long read holds up upkeep
    statuses = pd.read_sql_query(text(STATUSES), connection)
    failures = pd.read_sql_query(text(FAILURES), connection)["payload"].map(json.loads)
for column in ("occurred_at", "received_at"):  # RFC 3339, UTC
    statuses[column] = pd.to_datetime(statuses[column], utc=True)

# %% Deliveries per hour
delivered = statuses[statuses["type"] == "delivered"]
deliveries = delivered.groupby(delivered["received_at"].dt.floor("h")).size()
print(deliveries)

# %% From sent to read, by the provider's clock
moments = statuses.groupby(["external_id", "type"])["occurred_at"].min().unstack()
moments = moments.reindex(columns=["sent", "delivered", "read"])
waits = (moments["read"] - moments["sent"]).dropna()
print(waits.describe())

# %% Errors by code
codes = failures.map(lambda told: (told.get("errors") or [told])[0].get("code")).value_counts()
print(codes)
