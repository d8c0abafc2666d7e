"""A worker's /status as a table for a terminal."""

from typing import Any

from rich.table import Table

_COLOURS = {"ok": "green", "lagging": "yellow", "stalled": "yellow", "halted": "red", "stopped": "red"}


def render(found: dict[str, Any]) -> Table:
    """Draw what /status says."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    verdict, circuit, queue = found["verdict"], found["circuit"], found["queue"]
    table.add_row("verdict", f"[{_COLOURS.get(verdict, 'white')}]{verdict}[/]" + _because(found))
    table.add_row("circuit", circuit["state"] + (f", {circuit['last_error_code']}" if circuit["last_error_code"] else ""))
    table.add_row("delivery", found["delivery"])
    table.add_row("freshness", f"{found['freshness_s']:.1f} s")
    table.add_row("lag", f"{sum(found['lag'].values())} records in {len(found['lag'])} partitions")
    table.add_row("mentors", f"{queue['dirty']} dirty, {queue['in_progress']} in progress, {queue['waiting']} waiting")
    table.add_row("dead letters", f"{found['dead_letters_open']} open" if found["leader"] else "(the leader knows)")
    return table


def _because(found: dict[str, Any]) -> str:
    reasons = [*found["halted"], *(f"{name} does not answer" for name in found["dependencies_down"])]
    return f"  ({', '.join(reasons)})" if reasons else ""
