"""Metrics as Prometheus reads them."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[str, ...]], float]  # by name, and values of labels


def read_samples(text: str) -> Samples:
    """Return the samples of a text; the labels of each in the order of their names."""
    return _by_name(text_string_to_metric_families(text))


def scrape(registry: CollectorRegistry) -> Samples:
    """Return what ``registry`` shows now; the labels of each in the order of the tables."""
    return _by_name(registry.collect())


def pick(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one name by the values of their labels."""
    return {labels: value for (other, labels), value in samples.items() if other == name}


def _by_name(families: Iterable[Metric]) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
