"""The calls and answers of docs/coordinators.md, from a real service beside a real PostgreSQL: what
stands between the page's two marks. `python -m tests.coordinators_page` prints the page anew; a
test compares the two. What differs from run to run (times, keys) is written as one and the same.
"""

import json
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.fixtures.cluster import Cluster, run_cluster
from tests.fixtures.web import Issuer, serving, until

PAGE = Path(__file__).parents[1] / "docs/coordinators.md"
BEGIN, END = "<!-- calls: begin -->\n", "<!-- calls: end -->\n"
MENTOR = "6f1a1f3c-0000-4000-8000-000000000001"
UNMAPPED = "6f1a1f3c-0000-4000-8000-000000000002"

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_EVENT = re.compile(r"\b[0-9a-f]{8}-(\d+)")


def page(calls: str) -> str:
    """The page with these calls in it."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{head}{BEGIN}{calls}{END}{rest.partition(END)[2]}"


def calls(cluster: Cluster, folder: Path) -> str:
    """Every call once, as it was asked and answered."""
    database = cluster.fresh()
    issuer = Issuer()
    with (
        psycopg.connect(cluster.dsn(database), autocommit=True) as books,
        serving(
            folder,
            cluster.dsn(database, "hlf_web"),
            issuer,
            web_mentor_url="https://mentors.example.org/mentors/{mentor_id}",
        ) as service,
    ):
        client = service.client
        client.headers.update(issuer.bearer())
        _populate(books)
        until(lambda: _open(client) == {"pending": 1, "dead_lettered": 1})
        told = [
            _told(client, "GET", "/api/v1/pending?limit=1", "What is open, oldest first."),
            _told(client, "GET", f"/api/v1/mentors/{MENTOR}", "One mentor, open or not."),
            _told(
                client,
                "POST",
                f"/api/v1/mentors/{MENTOR}/sync",
                "Sync now. The same key gives the same answer, so a call may be repeated.",
                json={"reason": "she has called: still on the page"},
                headers={"Idempotency-Key": "a key of the caller's own"},
            ),
            _told(client, "GET", "/api/v1/requests/1", "What became of it."),
            _told(
                client,
                "GET",
                "/api/v1/mentors/00000000-0000-0000-0000-000000000000",
                "A mentor of another organisation, or of none: the same answer.",
            ),
            _streamed(client, books),
        ]
        client.headers.pop("Authorization")
        told.append(_told(client, "GET", "/api/v1/pending", "Without a token."))
    return "".join(told)


def _populate(books: psycopg.Connection[Any]) -> None:
    books.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.leader'))")
    with books.transaction():  # one look sees both: the order of the two is always the same
        books.execute(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES (%s, 'HLF', 'paused'), (%s,"
            " 'HLF', 'paused')",
            (MENTOR, UNMAPPED),
        )
        books.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, last_error_code,"
            " triggered_by) VALUES (%s, 'visible', 'in_sync', NULL, 'status_change'), (%s, NULL,"
            " 'dead_lettered', 'mentor_mapping', 'status_change')",
            (MENTOR, UNMAPPED),
        )


def _open(client: httpx.Client) -> dict[str, int]:
    answer = client.get("/api/v1/pending")
    counts = answer.json()["counts"] if answer.is_success else {}
    return {state: count for state, count in counts.items() if count}


def _told(client: httpx.Client, method: str, path: str, what: str, **asked: Any) -> str:
    answer = client.request(method, path, **asked)
    lines = [f"{method} {path}"]
    lines += [f"{name}: {value}" for name, value in asked.get("headers", {}).items()]
    if "json" in asked:
        lines += ["", json.dumps(asked["json"])]
    lines += ["", f"{answer.status_code} {answer.reason_phrase}"]
    lines += [
        f"{name}: {answer.headers[name]}"
        for name in ("Location", "Retry-After", "Content-Type")
        if name in answer.headers
    ]
    lines += ["", json.dumps(answer.json(), indent=2, ensure_ascii=False)]
    return f"{what}\n\n```http\n{_fixed(chr(10).join(lines))}\n```\n\n"


def _streamed(client: httpx.Client, books: psycopg.Connection[Any]) -> str:
    """The beginning of a stream, and one change."""
    lines = ["GET /api/v1/events", "", "200 OK"]
    with client.stream("GET", "/api/v1/events") as answer:
        lines += [f"Content-Type: {answer.headers['content-type']}", ""]
        heard = answer.iter_lines()
        seen = 0
        for line in heard:
            lines.append(line)
            seen += line.startswith("data:")
            if seen == 3 and not line:
                break
        books.execute(
            "UPDATE hlf_sync.mentor_ledger SET applied = 'hidden' WHERE mentor_id = %s", (MENTOR,)
        )
        for line in heard:
            lines.append(line)
            if not line:
                break
    what = "What changes, as it happens: first everything, then each change."
    return f"{what}\n\n```http\n{_fixed(chr(10).join(lines)).rstrip()}\n```\n\n"


def _fixed(text: str) -> str:
    text = re.sub(r'"next_cursor": "[^"]+"', '"next_cursor": "Mjc5"', text)
    return _EVENT.sub(r"5ca1ab1e-\1", _TIME.sub("2026-11-28T14:05:00Z", text))


if __name__ == "__main__":
    with contextmanager(run_cluster)() as _cluster, tempfile.TemporaryDirectory() as _folder:
        sys.stdout.write(page(calls(_cluster, Path(_folder))))
