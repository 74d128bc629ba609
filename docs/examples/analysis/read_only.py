"""The log as analysts open it: nothing can be written, whatever a query says."""

import os
from urllib.parse import quote

from sqlalchemy import make_url


def find_url() -> str:
    """Return the URL in ROUTER_DATABASE, or that of router.db, opened to be read only."""
    url = make_url(os.environ.get("ROUTER_DATABASE", "sqlite:///router.db"))
    if url.get_backend_name() == "sqlite":
        url = url.set(
            database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"}
        )
    else:
        url = url.update_query_dict({"options": "-c default_transaction_read_only=on"})
    return url.render_as_string(hide_password=False)
