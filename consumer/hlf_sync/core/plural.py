"""Numbers with their nouns, as people read them: 1 mentor, 1,200 mentors. Pure."""


def needs(count: int) -> str:
    """The verb after such a number."""
    return "needs" if count == 1 else "need"


def counted(count: float, noun: str) -> str:
    """The number and the noun, in the plural where it must be."""
    return f"{count:,.12g} {noun}{'' if count == 1 else 's'}"
