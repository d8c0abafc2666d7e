"""Is this the database we knew, and has it kept what it knew? Decides from an anchor that lies in
Kafka, where the database cannot take it back, and the same figures as the database shows them now.

Pure; called by the leader's watch (watch/source_watch). A log position alone would not do: a restored
database may have grown past the old one before anybody looks. So there is a beat, which nobody but
the leader makes grow, and a token that is new with each beat.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from hlf_sync.core.numbers import json_of


class Break(StrEnum):
    """Why nothing that the ledger says may be believed; the metric's label."""

    OTHER_DATABASE = "other_database"  # another system identifier: a dump, or a new cluster
    WENT_BACK = "went_back"  # a restored backup, or a standby that had not everything
    OTHER_TIMELINE = "other_timeline"  # a promoted standby
    FORGOTTEN = "forgotten"  # the database has been looked at before, and Kafka knows of no look
    OPERATOR = "operator"  # `hlf-sync distrust`

    @property
    def may_mislead_connector(self) -> bool:
        """Whether the connector's position may lie ahead of the log, so that it passes over what is
        committed from now on.
        """
        return self in {Break.OTHER_DATABASE, Break.WENT_BACK}


@dataclass(frozen=True, slots=True)
class Anchor:
    """One look at the database. `lsn` is its log position in bytes."""

    system: str
    timeline: int
    lsn: int
    beat: int
    token: str

    def encode(self) -> bytes:
        """As it lies in Kafka."""
        return json.dumps(asdict(self)).encode()


def decode(value: bytes | None) -> Anchor | None:
    """The anchor of a record; None for anything else, which then counts as forgotten."""
    try:
        found = json_of(value or b"")
        return Anchor(
            str(found["system"]),
            int(found["timeline"]),
            int(found["lsn"]),
            int(found["beat"]),
            str(found["token"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def compare(kept: Anchor | None, seen: Anchor) -> Break | None:
    """What happened between the look that was kept and this one; None: nothing that matters."""
    if kept is None:
        return Break.FORGOTTEN if seen.beat > 0 else None
    if kept.system != seen.system:
        return Break.OTHER_DATABASE
    if _went_back(kept, seen):
        return Break.WENT_BACK
    return None if kept.timeline == seen.timeline else Break.OTHER_TIMELINE


def _went_back(kept: Anchor, seen: Anchor) -> bool:
    if seen.beat == kept.beat:
        return seen.token != kept.token or seen.lsn < kept.lsn
    return seen.beat < kept.beat or seen.lsn < kept.lsn
