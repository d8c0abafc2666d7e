"""Who plays: a thousand mentors as plain values, eight of them with a part in the story. Pure; no
mentor has a name or an address.

Called by `application` (which writes them into the tables) and by the story.
"""

from dataclasses import dataclass
from uuid import UUID

OURS = "HLF"
OTHERS = "OTHER"

_YEAR_S = 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Mentor:
    """One mentor before the story begins. `certificate_s`: its end from now, in seconds; None = no
    certificate.
    """

    number: int
    role: str = ""
    organization: str = OURS
    status: str = "active"
    certificate_s: float | None = _YEAR_S

    @property
    def id(self) -> str:
        """The mentor's UUID."""
        return _uuid(0xA1, self.number)

    @property
    def contact_id(self) -> str:
        """The UUID of its contact in Dynamics."""
        return _uuid(0xC0, self.number)

    @property
    def certification_id(self) -> str:
        """The UUID of its first certification."""
        return _uuid(0xCE, self.number)


LEAVES = Mentor(1, "goes on leave")
LAPSES = Mentor(2, "certificate lapses")
RENEWS = Mentor(3, "renews it", certificate_s=-24 * 3600.0)
RETURNS = Mentor(4, "returns, certified", status="paused")
RETURNS_BARE = Mentor(5, "returns, no certificate", status="paused", certificate_s=None)
ELSEWHERE = Mentor(6, "another organisation", organization=OTHERS)
UNMAPPED = Mentor(7, "no mapping yet")
"""Joins in the middle of the story."""
BUSY = tuple(
    Mentor(100 + place, f"busy, {place + 1} of 50" if place == 0 else "") for place in range(50)
)

PROTAGONISTS = (LEAVES, LAPSES, RENEWS, RETURNS, RETURNS_BARE, ELSEWHERE, UNMAPPED, BUSY[0])

_CROWD = 1000


def population() -> list[Mentor]:
    """All mentors when the story begins: 1,000 mentors, one in ten of another
    organisation.
    """
    known = [mentor for mentor in (*PROTAGONISTS, *BUSY[1:]) if mentor is not UNMAPPED]
    return known + [_extra(number) for number in range(1000, 1000 + _CROWD - len(known))]


def _extra(number: int) -> Mentor:
    if number % 10 == 0:
        return Mentor(number, organization=OTHERS)
    if number % 31 == 0:
        return Mentor(number, status="paused")
    if number % 37 == 0:
        return Mentor(number, status="expired_cert", certificate_s=-_YEAR_S)
    return Mentor(number, status="reinstated" if number % 7 == 0 else "active")


def _uuid(kind: int, number: int) -> str:
    return str(UUID(f"{kind:08x}-0000-4000-8000-{number:012d}"))
