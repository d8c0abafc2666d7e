"""As of when Dynamics' listing equals the facts, and how many passes in a row it has not. Called by
the leader's verification.

A pass that found another value, or could not read a contact, says nothing of 'equal', though it asks
for what it found: whatever set the value may set it again.
"""

from typing import Any, NamedTuple

from psycopg import AsyncConnection

# `pages` is 0 of the note from when on passes are counted: nothing contradicts the listing then.
_EQUALITY = """
WITH passes AS (
  SELECT pass_id, started_at, coalesce((counts->>'drift')::int, 0) AS drift, coalesce((counts->>'unread')::int, 0) AS unread
    FROM hlf_sync.listing_pass WHERE finished_at IS NOT NULL
)
SELECT extract(epoch FROM now() - coalesce((SELECT started_at FROM passes WHERE drift = 0 AND unread = 0 ORDER BY pass_id DESC LIMIT 1),
                                           (SELECT min(started_at) FROM passes)))::float8,
       (SELECT count(*) FROM passes WHERE pass_id > coalesce((SELECT max(pass_id) FROM passes WHERE drift = 0), 0))
"""


class Equality(NamedTuple):
    """`age_s`: since the newest pass began that found all equal and read everybody; where none is
    kept, since the oldest. `drifting`: how many passes in a row, the newest ones, found drift.
    """

    age_s: float
    drifting: int


async def equality(connection: AsyncConnection[Any]) -> Equality | None:
    """None before passes are counted."""
    row = await (await connection.execute(_EQUALITY)).fetchone()
    return None if row is None or row[0] is None else Equality(max(0.0, row[0]), row[1])
