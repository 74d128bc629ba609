"""`--tracing`: a receiver makes spans by the provider that was set up for its process."""

import json
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest

from tests.cli.served import served
from tests.cli.test_metrics import SETTINGS

# One engine is enough: what is tested is the command.
pytestmark = pytest.mark.engines("sqlite")

# OpenTelemetry's launcher does likewise: Python imports it before anything else.
LAUNCHER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

out = open("spans.jsonl", "a", buffering=1)
exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\\n")
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
"""


def serve(environ: Mapping[str, str], folder: Path, *options: str) -> list[str]:
    """Post a notification to a process that was launched so; the names of the spans it made."""
    (folder / "router.toml").write_text(SETTINGS)
    (folder / "sitecustomize.py").write_text(LAUNCHER)
    with served({**environ, "PYTHONPATH": str(folder)}, *options) as address:
        posted = httpx2.post(f"{address}/webhooks/wa", content=b"{}", trust_env=False)
    assert posted.status_code == 200
    lines = (folder / "spans.jsonl").read_text().splitlines()
    return sorted(json.loads(line)["name"] for line in lines)


def test_spans_are_made_by_the_processs_provider(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    """With the flag, or with its variable."""
    assert serve(environ, tmp_path, "--tracing") == ["append wa", "receive wa"]
    (tmp_path / "spans.jsonl").unlink()
    assert serve({**environ, "ROUTER_TRACING": "1"}, tmp_path) == ["append wa", "receive wa"]


def test_unasked_there_are_none(environ: Mapping[str, str], tmp_path: Path) -> None:
    """A provider by itself switches nothing on."""
    assert serve(environ, tmp_path) == []
