"""Seconds and bytes for people, the same wherever they are shown. Pure."""

_KIB = 1024


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min, 2 h 10 min, 5 d 3 h."""
    if seconds < 9.95:  # noqa: PLR2004 - from here on tenths are noise
        return f"{seconds:.1f} s"
    whole = int(max(seconds, 10))
    if whole < 120:  # noqa: PLR2004 - two minutes
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def size(count: float) -> str:
    """Bytes: 512 B, 28 KiB, 3 MiB, 1.5 GiB."""
    found = max(0.0, count)
    for unit in ("B", "KiB", "MiB"):
        if found < _KIB:
            return f"{found:.0f} {unit}"
        found /= _KIB
    return f"{found:.1f} GiB"
