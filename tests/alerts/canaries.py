"""Canaries of personal data and every secret, looked for in all that the parts say and keep,
however it is written. Used after the stories.
"""

from collections.abc import Iterator
from itertools import chain

from tests.fixtures.leaks import Search, secrets
from tests.fixtures.source_side import CHANGES
from tests.fixtures.worker_process import Town

CANARY = "Zoë Quétzal/{}+7f3a@example.org"
"""In every personal column, which is filled in."""
POISON = "Ottilie Pöison/9c1b@example.org"
"""In records that are none, and in what Dynamics answers: it stands in the changes topic, since it was put there, and nowhere else."""

_COLUMNS = ("name", "email", "phone", "notes")
_PARTS = ("connect", "kafka", "registry")
_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'hlf_sync' AND"
    " table_type = 'BASE TABLE'"
)


def leaks(town: Town) -> list[str]:
    """Where a canary or a secret stands that should not; `place: what`."""
    names = {CANARY.format(column): f"the canary {column}" for column in _COLUMNS} | {
        POISON: "the poison's canary"
    }
    names |= {secret: name for name, secret in secrets(town.stack).items()}
    search = Search(names)
    places = chain(_logs(town), _pages(town), _topics(town), _tables(town))
    found = ((place, names[word]) for place, content in places for word in search.found(content))
    return [
        f"{place}: {what}"
        for place, what in found
        if (place, what) != (CHANGES, "the poison's canary")
    ]


def leaks_in(town: Town, places: Iterator[tuple[str, bytes]]) -> list[str]:
    """The same in other places."""
    search = Search(
        [*(CANARY.format(column) for column in _COLUMNS), POISON, *secrets(town.stack).values()]
    )
    return [place for place, content in places if search.found(content)]


def _logs(town: Town) -> Iterator[tuple[str, bytes]]:
    """Standard output and error of every worker that there was, and of the parts."""
    files = [*town.folder.glob("*.log"), *(town.stack.layout.log(part) for part in _PARTS)]
    assert len(files) > len(_PARTS)
    yield from ((path.name, path.read_bytes()) for path in files)


def _pages(town: Town) -> Iterator[tuple[str, bytes]]:
    for worker in town.workers:
        if worker.process.poll() is None:
            yield from (
                (f"a worker's {page}", worker.get(page).content)
                for page in ("/metrics", "/status", "/readyz", "/livez")
            )


def _topics(town: Town) -> Iterator[tuple[str, bytes]]:
    """Key, value and headers of every record of every topic, Kafka's and Connect's own included."""
    for record in town.side.everything(town.side.topics()):
        headers = chain.from_iterable(
            (name.encode(), content or b"") for name, content in record.headers
        )
        yield record.topic, b"\n".join([record.key or b"", record.value or b"", *headers])


def _tables(town: Town) -> Iterator[tuple[str, bytes]]:
    with town.side.admin() as connection:
        for (table,) in connection.execute(_TABLES.encode()).fetchall():
            rows = connection.execute(f"SELECT t::text FROM hlf_sync.{table} t".encode()).fetchall()
            yield f"the table {table}", "\n".join(text for (text,) in rows).encode()
