"""Why PostgreSQL could not be reached, in words that a person can act upon: libpq's own text may quote
addresses and is left out. Called by `doctor` and whatever command opens a connection of its own.
"""

import psycopg

from hlf_sync.core.cause_words import of

_REASONS = {
    "unsupported startup parameter": (
        "a pooler refuses our options: pool_mode = session, ignore_startup_parameters = options"
    ),
    "authentication failed": "authentication failed",
    "no password supplied": "no password supplied",
    "no pg_hba.conf entry": "no pg_hba.conf entry for us",
    "does not exist": "no such database or role",
    "starting up": "starting up",
    "refused": "connection refused",
    "timeout": "no answer in time",
    "resolve host": "no such host",
    "translate host name": "no such host",
    "closed the connection": "the connection was closed: is that PostgreSQL?",
    "SSL": "TLS failed: see sslmode and sslrootcert",
    "certificate": "TLS failed: see sslmode and sslrootcert",
}


def reason(error: psycopg.Error) -> str:
    """What a person can act upon."""
    text = str(error) if isinstance(error, psycopg.OperationalError) else ""
    return next((words for phrase, words in _REASONS.items() if phrase in text), of(error))
