"""The page on metrics names those that there are."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from router.log import EventLog
from router.prometheus import Collector
from tests.test_prometheus import standing

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "how-to" / "metrics.md").read_text("utf-8")
RULES = DOCS / "examples" / "alerts.yml"
ROW = re.compile(r"^\| `(?P<name>router_\w+)` \| *(?P<labels>[\w, ]*?) *\|", re.MULTILINE)
ALERT = re.compile(r"^ {6}- alert: (\w+)\n {8}expr: (.*?)\n(?= {8}\w+:|\n| {6}-|\Z)", re.M | re.S)
SELECTED = re.compile(r"\b(router_\w+)(?:\{([^}]*)\})?")

# One engine is enough: the page says the same of all.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def collector(log: EventLog) -> Collector:
    """A collector with a sample of each metric."""
    meters = log.meters
    meters.receive("wa")
    meters.reject("wa", "unverified")
    meters.append([], known={"wa": 1}, size=1, took=0.1)
    meters.deliver("crm", "live", {"done": 1})
    meters.call("crm", "done", 0.1)
    return Collector(log, look=lambda: [standing()])


def test_the_tables_hold_all_metrics(collector: Collector) -> None:
    """Each metric has a row with its labels, and each row is of a metric."""
    told = {row["name"]: row["labels"] for row in ROW.finditer(PAGE)}

    found = {}
    for family in collector.describe():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = ", ".join(vars(family)["_labelnames"])

    assert told == found


def find_labels(collector: Collector) -> Mapping[str, set[str]]:
    """The labels of each sample that a scrape shows."""
    registry = CollectorRegistry()
    registry.register(collector)
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for family in collector.describe():
        if family.type == "counter":
            found[f"{family.name}_total"] = set(vars(family)["_labelnames"])
    return found


def test_the_rules_ask_for_what_there_is(collector: Collector) -> None:
    """Each rule asks for samples that a scrape shows, by labels that these have."""
    known = find_labels(collector)
    rules = ALERT.findall(RULES.read_text("utf-8"))

    assert len(rules) == RULES.read_text("utf-8").count("alert:") > 5
    for name, asked in rules:
        selected = SELECTED.findall(asked)
        grouped = {
            label for one in re.findall(r"\bby \(([^)]*)\)", asked) for label in one.split(", ")
        }
        assert selected, name
        for metric, selectors in selected:
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selectors)) | grouped
            assert metric in known, (name, metric)
            assert labels <= known[metric], (name, metric, labels - known[metric])


def test_annotations_name_labels_that_are_left(collector: Collector) -> None:
    """What a summary takes from an alert is what its rule groups by."""
    for rule in RULES.read_text("utf-8").split("- alert: ")[1:]:
        grouped = set(re.findall(r"\bby \((\w+)\)", rule))
        assert set(re.findall(r"\$labels\.(\w+)", rule)) <= grouped, rule


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_prometheus_reads_the_rules() -> None:
    """They are rules, in words that Prometheus knows."""
    done = subprocess.run(
        ["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 rules found" in done.stdout
