"""Files of this package. Used by provision and the Java parts."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def resource(name: str) -> Path:
    """`sandbox/<name>`."""
    return _HERE / name
