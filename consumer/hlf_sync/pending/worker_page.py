"""Every mentor that is not at rest, as a worker's page at `/`: read-only, plain HTML, the same list as
`hlf-sync pending`.

Read when somebody asks, and not again within ten seconds: the page has no login, and one look at
10,000 mentors costs PostgreSQL half a second. Ids and our own words; nothing personal.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from hlf_sync.core.decide import Rules
from hlf_sync.core.open_update import Cause, Conditions
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.pending.open_mentors import OpenMentor, read_open
from hlf_sync.pending.words import troubles, words
from hlf_sync.postgres.one_connection import operator_connection

_KEPT_S = 10.0
# Of each cause; `hlf-sync pending --limit 0` shows all.
_MOST = 100
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hlf-sync: pending</title></head><body>
<h1>Not at rest</h1><p>{count} as of {as_of} UTC. The same on a terminal: <code>hlf-sync pending</code>.
This worker: <a href="/status">status</a>, <a href="/metrics">metrics</a>.</p>{troubles}{groups}</body></html>
"""
_GROUP = """<h2>{count:,} {cause}</h2><p>{means}; to do: {advice}</p><table>
<tr><th>mentor</th><th>shown</th><th>should be</th><th>since (UTC)</th><th>error</th><th>next try (UTC)</th></tr>{rows}</table>{more}
"""


@dataclass(slots=True, kw_only=True)
class WorkerPage:
    """`dsn` gives the sync role's DSN of now."""

    dsn: Callable[[], str]
    rules: Rules
    retry: RetryPolicy
    cool_down_s: float
    is_shadow: bool
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _made_at_s: float = float("-inf")
    _body: str = ""

    async def body(self) -> str:
        """The page. Raises `DependencyError`."""
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._made_at_s >= _KEPT_S:
                self._body = render(*await asyncio.to_thread(self._read))
                self._made_at_s = now_s
            return self._body

    def _read(self) -> tuple[Conditions, list[OpenMentor]]:
        with operator_connection(self.dsn(), "hlf-sync") as connection:
            return read_open(
                connection,
                self.rules,
                self.retry,
                cool_down_s=self.cool_down_s,
                is_shadow=self.is_shadow,
            )


def render(around: Conditions, found: Sequence[OpenMentor]) -> str:
    """Grouped by cause, the oldest first."""
    groups = [
        _group(cause, around, [one for one in found if one.update.cause is cause])
        for cause in Cause
        if any(one.update.cause is cause for one in found)
    ]
    count = f"{len(found):,} mentor{'' if len(found) == 1 else 's'}" if found else "Nobody"
    told = "".join(f"<p>{escape(line)}</p>" for line in troubles(around))
    as_of = _text(around.now_s)
    return _PAGE.format(count=count, as_of=as_of, troubles=told, groups="".join(groups))


def _group(cause: Cause, around: Conditions, found: Sequence[OpenMentor]) -> str:
    means, advice = words(cause, around)
    more = len(found) - _MOST
    return _GROUP.format(
        count=len(found),
        cause=escape(cause.value),
        means=escape(means),
        advice=escape(advice),
        rows="".join(map(_row, found[:_MOST])),
        more=f"<p>… and {more:,} more</p>" if more > 0 else "",
    )


def _row(one: OpenMentor) -> str:
    cells = (
        one.letter_id or one.mentor_id,
        one.update.shown or "?",
        one.update.should_be or "?",
        _text(one.update.since_s),
        one.error_code or "",
        _text(one.update.next_try_s),
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _text(at_s: float | None) -> str:
    return "" if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}"
