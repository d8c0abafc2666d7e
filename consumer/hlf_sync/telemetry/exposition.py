"""Prometheus' text format as numbers. Called by `top`, which reads the workers' /metrics pages.

Knows no metric of ours. Writing a page is metrics' and web_metrics' business.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
Samples = Mapping[str, Sequence[tuple[Labels, float]]]


def read_samples(text: str) -> Samples:
    """All samples of a page by their name; raises ValueError where the text is not such a page."""
    samples: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append((sample.labels, sample.value))
    return samples
