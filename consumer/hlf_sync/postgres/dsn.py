"""Whether a connection string can be read. Called by the settings and by tools, before a client is
opened.

A string that libpq cannot read is quoted by its error, password and all, so it must never get that
far. Asks nobody, opens nothing.
"""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def is_dsn(text: str) -> bool:
    """Whether PostgreSQL's driver can read it."""
    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        return False
    return True
