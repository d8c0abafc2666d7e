"""A worker's /status for a terminal: what rules and what to do, then the figures behind it. Draws;
asks nobody.
"""

from typing import Any

from rich.table import Table
from rich.text import Text

from hlf_sync.core.fleet_verdict import KAFKA, POSTGRESQL, halt_words
from hlf_sync.core.plain_text import plain
from hlf_sync.core.plural import counted
from hlf_sync.core.quantities import duration, size
from hlf_sync.core.wrong_listing import NOBODY, NOW, in_words

Row = tuple[str, str | Text]

_COLOURS = {
    "ok": "green",
    "lagging": "yellow",
    "stalled": "yellow",
    "halted": "red",
    "stopped": "red",
}


def render(found: dict[str, Any]) -> Table:
    """Draw what /status says: what rules, then this worker's figures, then the whole fleet's."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    _add(table, _verdict(found))
    table.add_row(Text("this worker", "bold"), Text(plain(found.get("worker") or ""), "bold"))
    _add(table, _own(found))
    table.add_row(Text("the fleet", "bold"), Text(_whose_word(found), "bold"))
    _add(table, _of_all(found))
    return table


def _add(table: Table, rows: list[Row]) -> None:
    for name, text in rows:
        table.add_row(name, Text(plain(text)) if isinstance(text, str) else text)


def _verdict(found: dict[str, Any]) -> list[Row]:
    verdict = found["verdict"]
    words = Text.assemble(
        (plain(verdict), f"bold {_COLOURS.get(verdict, 'white')}"), f"  {plain(found['because'])}"
    )
    rows: list[Row] = [("verdict", words)]
    if found["advice"]:
        rows.append(("do", found["advice"]))
    if found["stage"] != "none":
        rows.append(("held up at", found["stage"]))
    return rows


def _own(found: dict[str, Any]) -> list[Row]:
    queue = found["queue"]
    return [
        ("ready", "yes" if not found["not_ready"] else "no: " + ", ".join(found["not_ready"])),
        ("freshness", _freshness(found["freshness_s"], is_cut=_is_cut(found))),
        ("lag", _lag(found)),
        (
            "mentors",
            (
                f"{queue['dirty']} dirty, {queue['in_progress']} in progress, {queue['waiting']}"
                " waiting"
            ),
        ),
        ("delivery", found["delivery"]),
    ]


def _whose_word(found: dict[str, Any]) -> str:
    """Who tells of the fleet: the leader, or nobody."""
    if _is_blind(found):
        return "PostgreSQL does not answer: nobody leads"
    if found["leader"]:
        return "this worker leads"
    return "another worker leads, and knows more"


def _of_all(found: dict[str, Any]) -> list[Row]:
    if _is_blind(found):
        away_s = (found.get("dependencies_down_s") or {}).get(POSTGRESQL)
        since = "" if away_s is None else f" since {duration(away_s)} ago"
        rows: list[Row] = [("listing", f"not known{since}: PostgreSQL does not answer")]
        rows.append(("circuit", f"{_circuit(found['circuit'])}, when PostgreSQL last answered"))
        if halts := found.get("halted"):
            words = "; ".join(map(halt_words, halts))
            rows.append(("halted", f"{words}, when PostgreSQL last answered"))
        return [*rows, *_members(found)]
    rows = [("circuit", _circuit(found["circuit"]))]
    return _as_leader(found, rows) if found["leader"] else [*rows, *_members(found)]


def _is_blind(found: dict[str, Any]) -> bool:
    """Whether what PostgreSQL knows of the fleet is of before."""
    return POSTGRESQL in found.get("dependencies_down", ())


def _is_cut(found: dict[str, Any]) -> bool:
    """Whether nobody can say what has come into Kafka since."""
    return KAFKA in found.get("dependencies_down", ())


def _freshness(seconds: float, *, is_cut: bool) -> str:
    if seconds:
        return f"{duration(seconds)} since the oldest change that Dynamics does not show"
    if is_cut:
        return "nothing that was read is owed; what came after is not known"
    return "nothing that reached Kafka is owed"


def _lag(found: dict[str, Any]) -> str:
    records = counted(sum(found["lag"].values()), "record")
    if _is_cut(found):
        return f"not known; {records} when Kafka last answered"
    return f"{records} in {counted(len(found['lag']), 'partition')}"


def _as_leader(found: dict[str, Any], rows: list[Row]) -> list[Row]:
    """What only the leader knows, and `rows`."""
    source = found["source"]
    as_of = _as_of(found.get("listing_age_s"))
    rows = [("listing", _listing(found)), *rows]
    if found["group_lag"] is not None and not _is_cut(found):
        rows.append(("lag", counted(found["group_lag"], "record")))
    rows.append(("dead letters", f"{found['dead_letters_open']:,} open"))
    rows += _members(found)
    if found["held_removals"]:
        rows.append(("held back", counted(found["held_removals"], "removal") + as_of))
    if words := paused(found.get("paused") or {}):
        rows.append(("paused", words))
    seen = ", ".join(_source(source))
    seen = seen + _as_of(source.get("age_s")) if seen else "not seen yet"
    return [*rows, ("source", seen)]


def _members(found: dict[str, Any]) -> list[Row]:
    known = found.get("workers")
    return [("workers", _workers(known) + _as_of(found.get("workers_age_s")))] if known else []


def _as_of(age_s: float | None, more: str = "") -> str:
    """When the leader saw it."""
    return "" if age_s is None else f" (as of {duration(age_s)} ago{more})"


def paused(found: dict[str, Any]) -> str:
    """What an operator has paused; empty when nothing is."""
    mentors = found.get("mentors", 0)
    parts = ["ALL deliveries"] if found.get("all") else []
    parts += [counted(mentors, "mentor")] if mentors else []
    return " and ".join(parts) + " (hlf-sync history says by whom and why)" if parts else ""


# A worker says every five seconds that it is there.
_AWAY_S = 15.0


def _workers(known: list[dict[str, Any]]) -> str:
    """How many there are, and who of them is away, frozen or of another version than the newest."""
    newest = max(known, key=lambda one: one["since"])["version"]
    away = [
        f"{one['name']} has not been heard of for {duration(one['silent_s'])}"
        for one in known
        if one["silent_s"] > _AWAY_S
    ]
    other = [
        f"{one['name']} is of version {one['version']}"
        for one in known
        if one["silent_s"] <= _AWAY_S and one["version"] != newest
    ]
    here = len(known) - len(away)
    return "; ".join([f"{here} at work", *away, *other])


def _circuit(circuit: dict[str, Any]) -> str:
    text = str(circuit["state"]).replace("_", "-")
    if circuit.get("open_s") is not None:
        text += f" for {duration(circuit['open_s'])}"
    if circuit["last_error_code"]:
        text += f", {circuit['last_error_code']}"
    if (probe_s := circuit.get("next_probe_s")) is not None:
        text += f", next probe in {duration(probe_s)}" if probe_s else ", next probe now"
    return text


def _listing(found: dict[str, Any]) -> str:
    """Who is shown or hidden wrongly; not known is not the same as nobody."""
    if not found["wrong"]:
        age_s, unread = found.get("listing_age_s"), found["group_lag"]
        since = "not seen yet" if age_s is None else f"not known since {duration(age_s)} ago"
        return since + (f", {counted(unread, 'change')} unread" if unread else "")
    wrong = found["wrong"]
    mentors = {wanted: one["mentors"] for wanted, one in wrong.items()}
    oldest_s = max((one["oldest_s"] for one in wrong.values() if one["mentors"]), default=0.0)
    age_s = found.get("listing_age_s")
    text = in_words(mentors, oldest_s + (age_s or 0.0), found["held_removals"] or 0)
    return (text or NOBODY) + _as_of(age_s, f"; {NOW}")


def _source(source: dict[str, Any]) -> list[str]:
    parts = [f"{part} {state}" for part, state in (source["connector"] or {}).items()]
    if slot := source["slot"]:
        lag = "" if slot["lag_bytes"] is None else f", {size(slot['lag_bytes'])} behind"
        parts.append(f"slot {slot['status']}{lag}")
    beat = source["heartbeat_s"]["kafka"]
    return parts if beat is None else [*parts, f"heartbeat {duration(beat)} ago"]
