"""The outer application: the router at /notify, and Django everywhere else."""

import os

from django.core.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount

from router import Router
from router.plugins.whatsapp import WhatsApp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
site = get_asgi_application()

import crm  # noqa: E402 - its models can be loaded only now

router = Router(
    "sqlite:///router.db",
    sources=[WhatsApp("wa", app_secrets=["env:WA_SECRET"], verify_token="env:WA_TOKEN")],
    plugins=[crm],
)
app = Starlette(
    routes=[Mount("/notify", app=router.asgi()), Mount("/", app=site)],
    lifespan=router.lifespan,  # Django knows no lifespan, and a mounted one never runs
)
