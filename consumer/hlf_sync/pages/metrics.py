"""docs/metrics.md, printed from the metrics' table: `python -m hlf_sync.pages.metrics >
docs/metrics.md`. A test compares the two.
"""

import sys

from hlf_sync.core.fleet_verdict import LATE_S, MEANINGS
from hlf_sync.telemetry import metric_table as table
from hlf_sync.telemetry.metric_table import TABLE, By, Kind, Metric
from hlf_sync.telemetry.web_metric_table import WEB_TABLE

_HEAD = """\
# Metrics

Printed by `python -m hlf_sync.pages.metrics` from `consumer/hlf_sync/telemetry/metric_table.py`; do not edit. Each worker shows them at `/metrics`
(`HLF_SYNC_HTTP_HOST`, `HLF_SYNC_HTTP_PORT`). Figures are those of the moment of the scrape; lag is measured once a second, the source every 3 s and
the ledger and the replay every 10 s (by the leader). No label ever names a mentor.

What one worker alone can say is absent at the others: the owner's lag of a partition, and everything *by the leader*. So `sum` over the workers is
right for lag and counts, and `max` for the rest. `max(hlf_sync_freshness_seconds)` is how stale the listing may be, apart from dead letters and from
what has not come through Debezium (`hlf_sync_heartbeat_age_seconds`).

**Freshness and dead letters.** A written dead letter is not in `freshness_seconds`: it waits for a person, and would hide from then on whether the
rest flows. It has `dead_letter_oldest_seconds`, and its mentor is in `listing_wrong_mentors` for as long as their facts ask for a call.
"""

_SECTIONS: dict[Metric, str] = {
    table.LAG: "Is anybody waiting?",
    table.CHANGES: "Changes and decisions",
    table.PAUSED: "Kafka",
    table.REQUESTS: "Dynamics",
    table.LETTERS: "Dead letters, ledger, listing",
    table.CONNECTOR: "The source: PostgreSQL's log → Debezium → Kafka",
    table.DEPENDENCY: "The worker itself",
}

_WEB = """
## The coordinators' web service

Shown by `hlf-sync web` at its own `/metrics` (`HLF_SYNC_WEB_HOST`, `HLF_SYNC_WEB_PORT`), without a token.
Figures only; still, keep it from the outside at the proxy.

| metric | type, unit | labels | by | meaning |
|---|---|---|---|---|
"""

_VERDICTS = f"""
## The verdict

`/status`, `hlf-sync status` and `{table.VERDICT.full_name}` say the same: the worst reason that holds. Late is more than {LATE_S:g} s.

| verdict | stage | reason | because | first thing to do |
|---|---|---|---|---|
"""


def render() -> str:
    """The page."""
    parts = [_HEAD]
    for metric in TABLE:
        if metric in _SECTIONS:
            parts.append(
                f"\n## {_SECTIONS[metric]}\n\n| metric | type, unit | labels | by | meaning"
                " |\n|---|---|---|---|---|\n"
            )
        parts.append(_row(metric))
    parts.append(_WEB)
    parts += [_row(metric) for metric in WEB_TABLE]
    parts.append(_VERDICTS)
    parts += [
        f"| {meaning.standing} | {meaning.stage} | {reason} | {meaning.text} |"
        f" {meaning.advice or '–'} |\n"
        for reason, meaning in MEANINGS.items()
    ]
    return "".join(parts)


def _row(metric: Metric) -> str:
    by = "" if metric.by is By.WORKER else metric.by.value
    buckets = (
        f". Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}"
        if metric.kind is Kind.HISTOGRAM
        else ""
    )
    return (
        f"| `{metric.full_name}` | {metric.kind}, {metric.unit} | {_labels(metric)} | {by} |"
        f" {metric.meaning}{buckets} |\n"
    )


def _labels(metric: Metric) -> str:
    if metric.only is not None:
        return ", ".join(f"`{name}`" for name in metric.labels) + ": see below"
    return "<br>".join(
        f"`{name}`" + ("" if values is None else ": " + ", ".join(values))
        for name, values in metric.labels.items()
    )


if __name__ == "__main__":
    sys.stdout.write(render())
