"""The receiver: takes notifications, and calls no handler."""

from router import Router

app = Router.from_config(delivers=False).asgi()
