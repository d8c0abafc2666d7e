"""What the database says of letters now: where their mentors stand, what was closed. Reads only;
called for plans, right before requests, afterwards.

Facts, ledger row and mapping of a mentor come from the worker's own reading (postgres/facts), and
the decision from the worker's own rules: the replay cannot disagree with who delivers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hlf_sync.core.decide import Rules, due
from hlf_sync.core.model import MentorId
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.statements import replay as sql
from hlf_sync.replay.judgement import Closing, Judgement, Letter, LetterStanding, judge

_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Judged:
    """A letter, its judgement, and the ledger's generation that it rests on."""

    letter: Letter
    judgement: Judgement
    standing: LetterStanding | None


class Standings:
    """Asks PostgreSQL; raises `DependencyError` while it cannot be reached. `now_s` is its clock at
    the last reading.
    """

    def __init__(self, pool: Pool, rules: Rules) -> None:
        self._pool = pool
        self._facts = FactsView(pool)
        self._rules = rules
        self.now_s = 0.0

    async def judge(self, letters: Sequence[Letter], *, is_repaired: bool = False) -> list[Judged]:
        """Judge each letter by itself, as of now."""
        judged: list[Judged] = []
        for start in range(0, len(letters), _BATCH):
            batch = letters[start : start + _BATCH]
            standings, closings = await self.of(batch), await self._closings(batch)
            for letter in batch:
                standing = standings.get(letter.mentor_id) if letter.mentor_id else None
                judged.append(
                    Judged(
                        letter,
                        judge(letter, standing, closings.get(letter.id), is_repaired=is_repaired),
                        standing,
                    )
                )
        return judged

    async def of(self, letters: Iterable[Letter]) -> dict[MentorId, LetterStanding]:
        """Where the letters' mentors stand."""
        mentor_ids = sorted({letter.mentor_id for letter in letters if letter.mentor_id})
        if not mentor_ids:
            return {}
        delivered = await self._delivered(letters)
        reading = await self._facts.read(mentor_ids)
        self.now_s = reading.now_s
        return {
            mentor_id: LetterStanding(
                known.ledger,
                due(known, known.ledger, reading.now_s, self._rules),
                known.contact_id is not None,
                delivered.get(mentor_id),
            )
            for mentor_id, known in reading.mentors.items()
        }

    async def open_letters(self, ids: Sequence[str] | None = None) -> dict[str, Letter]:
        """The letters, or those of `ids`, that the database says are open, as far as it knows them:
        without kind and place.
        """
        rows = await self._rows(sql.OPEN, {"wanted": None if ids is None else list(ids)})
        return {
            str(letter_id): Letter(
                -1, -1, str(letter_id), None, code, 0, MentorId(mentor_id), attempt_count=count
            )
            for letter_id, mentor_id, code, count in rows
        }

    async def replays(self, letters: Iterable[Letter]) -> Mapping[str, int]:
        """How often each mentor was replayed within a day."""
        return dict(
            await self._rows(
                sql.REPLAYS, (sorted({letter.mentor_id for letter in letters if letter.mentor_id}),)
            )
        )

    async def _closings(self, letters: Iterable[Letter]) -> dict[str, Closing]:
        rows = await self._rows(sql.CLOSED, ([letter.id for letter in letters],))
        return {letter_id: Closing(closed_by, reason) for letter_id, closed_by, reason in rows}

    async def _delivered(self, letters: Iterable[Letter]) -> dict[str, float]:
        mentor_ids = sorted(
            {
                letter.mentor_id
                for letter in letters
                if letter.mentor_id and letter.generation is None
            }
        )
        return dict(await self._rows(sql.DELIVERED, (mentor_ids,))) if mentor_ids else {}

    async def _rows(
        self, statement: str, values: tuple[object, ...] | Mapping[str, object]
    ) -> list[tuple[Any, ...]]:
        with reaching("PostgreSQL"):
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement.encode(), values)
                return await cursor.fetchall()
