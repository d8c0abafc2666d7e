"""The coordinators' calls on a real service beside a real PostgreSQL: what is open and why, one
mentor, sync now, sessions, other origins, and the answers to wrong requests.
"""

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hlf_sync.clock import epoch_ms
from hlf_sync.config.loading import load
from hlf_sync.errors import SettingsError
from hlf_sync.web.openapi import document
from psycopg import Connection

from tests.fixtures.cluster import Cluster
from tests.fixtures.command import command
from tests.fixtures.web import SUBJECT, Issuer, Service, environment, serving, until

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R61")]

ORIGIN = "https://mentors.example.org"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def books(cluster: Cluster) -> Iterator[Connection]:
    """The database as its owner sees it, with a worker that leads."""
    name = cluster.fresh()
    with psycopg.connect(cluster.dsn(name), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('hlf_sync.leader'))")
        yield connection


@pytest.fixture(scope="module")
def service(
    issuer: Issuer,
    books: Connection,
    cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    dsn = cluster.dsn(books.info.dbname, "hlf_web")
    with serving(
        tmp_path_factory.mktemp("web"),
        dsn,
        issuer,
        web_allowed_origins=ORIGIN,
        web_mentor_url="https://mentors.example.org/m/{mentor_id}",
    ) as found:
        until(lambda: found.client.get("/api/v1/pending", headers=issuer.bearer()).is_success)
        yield found


@pytest.fixture(autouse=True)
def _clean(books: Connection) -> Iterator[None]:
    yield
    books.execute(
        "TRUNCATE app.mentor, app.certification, hlf_sync.mentor_ledger, hlf_sync.held_removal,"
        " hlf_sync.delivery_attempt, hlf_sync.dynamics_sync_failures, hlf_sync.circuit,"
        " hlf_sync.halt, hlf_sync.pause, hlf_sync.contact_mapping CASCADE"
    )


class Caller:
    """A coordinator's client."""

    def __init__(self, service: Service, issuer: Issuer, **claims: Any) -> None:
        self._client = service.client
        self._headers = issuer.bearer(**claims)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._client.get(path, headers={**self._headers, **headers})

    def post(self, path: str, content: Any = None, **headers: str) -> httpx.Response:
        sent = {**self._headers, **{name.replace("_", "-"): v for name, v in headers.items()}}
        return self._client.post(path, json=content, headers=sent)

    def open(self) -> dict[str, dict[str, Any]]:
        answer = self.get("/api/v1/pending?limit=1000")
        assert answer.status_code == 200, answer.text
        return {item["mentor_id"]: item for item in answer.json()["items"]}


@pytest.fixture
def kari(service: Service, issuer: Issuer) -> Caller:
    return Caller(service, issuer, sub=f"kari-{uuid.uuid4()}")


def mentor(
    books: Connection, status: str = "paused", organization: str = "HLF", *, valid: bool = True
) -> str:
    mentor_id = str(uuid.uuid4())
    books.execute(
        "INSERT INTO app.mentor (id, organization_code, status, full_name) VALUES (%s, %s, %s,"
        " 'Kari Nordmann')",
        (mentor_id, organization, status),
    )
    books.execute(
        "INSERT INTO app.certification (id, mentor_id, status, expires_at) VALUES"
        " (gen_random_uuid(), %s, 'valid', now() + %s * interval '1 year')",
        (mentor_id, 1 if valid else -1),
    )
    return mentor_id


def ledger(books: Connection, mentor_id: str, **columns: Any) -> None:
    columns = {"mentor_id": mentor_id, "applied": "visible", "state": "in_sync", **columns}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "mentor_id")
    books.execute(
        f"INSERT INTO hlf_sync.mentor_ledger ({names}) VALUES ({marks}) ON CONFLICT (mentor_id) DO"
        f" UPDATE SET {sets}, updated_at = now()".encode(),
        tuple(columns.values()),
    )


def test_a_paused_mentor_is_open_within_two_seconds_though_no_worker_has_looked(
    books: Connection, kari: Caller
) -> None:
    mentor_id = mentor(books, "active")
    ledger(books, mentor_id)
    assert mentor_id not in kari.open()
    books.execute("UPDATE app.mentor SET status = 'paused' WHERE id = %s", (mentor_id,))
    began = epoch_ms()
    item = until(lambda: kari.open().get(mentor_id))
    assert epoch_ms() - began < 2_000
    assert (item["should_be"], item["shown"], item["state"]) == ("hidden", "visible", "pending")
    assert item["cause"] == "waiting"
    assert item["url"] == f"https://mentors.example.org/m/{mentor_id}"


def test_what_the_ledger_has_settled_is_no_longer_open(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books)
    until(lambda: mentor_id in kari.open())
    ledger(books, mentor_id, applied="hidden")
    until(lambda: mentor_id not in kari.open(), 5)


def test_a_certificate_that_lapses_is_open_since_its_end(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books, "active", valid=False)
    ledger(books, mentor_id)
    item = until(lambda: kari.open().get(mentor_id))
    ends = books.execute(
        "SELECT expires_at FROM app.certification WHERE mentor_id = %s", (mentor_id,)
    ).fetchone()
    assert ends is not None and datetime.fromisoformat(item["since"]) == ends[0]


@pytest.mark.parametrize(
    ("columns", "state", "cause"),
    [
        ({"state": "pending", "attempt_count": 1, "last_error_code": "server_error"},
         "pending", "retrying"),
        ({"state": "in_doubt", "intended": "hidden"}, "in_doubt", "in_doubt"),
        ({"state": "in_doubt", "intended": "hidden", "lease_owner": "w",
          "lease_until": "infinity"}, "pending", "under_way"),
        ({"state": "dead_lettered", "last_error_code": "mentor_mapping"},
         "dead_lettered", "unmapped"),
        ({"state": "dead_lettered", "last_error_code": "not_found"}, "dead_lettered", "rejected"),
        ({"state": "dead_lettered", "last_error_code": "network_error"},
         "dead_lettered", "exhausted"),
    ],
)  # fmt: skip
def test_what_an_update_waits_for_is_told(
    columns: dict[str, Any], state: str, cause: str, books: Connection, kari: Caller
) -> None:
    mentor_id = mentor(books)
    ledger(books, mentor_id, **columns)
    item = until(lambda: (kari.open().get(mentor_id) or {}).get("cause") == cause and kari.open())
    assert item[mentor_id]["state"] == state
    assert item[mentor_id]["message"]
    one = kari.get(f"/api/v1/mentors/{mentor_id}").json()
    assert (one["state"], one["cause"]) == (state, cause)


def test_a_held_removal_waits_for_the_administrator(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books)
    ledger(books, mentor_id)
    books.execute("INSERT INTO hlf_sync.held_removal (mentor_id) VALUES (%s)", (mentor_id,))
    books.execute("INSERT INTO hlf_sync.halt (reason) VALUES ('mass_removal')")
    until(lambda: (kari.open().get(mentor_id) or {}).get("state") == "held")
    page = until(lambda: (p := kari.get("/api/v1/pending").json())["counts"]["held"] and p)
    assert (page["verdict"], page["verdict_reason"]) == ("halted", "mass_removal")


def test_an_operators_pause_is_told_in_words_as_pending_tells_it(
    books: Connection, kari: Caller, cluster: Cluster
) -> None:
    mentor_id, other = mentor(books), mentor(books)
    books.execute(
        "INSERT INTO hlf_sync.pause (mentor_id, paused_by, reason) VALUES (%s, 'ola', 'a move')",
        (mentor_id,),
    )
    item = until(lambda: (i := kari.open().get(mentor_id)) and i["cause"] == "paused" and i)
    assert "paused" in item["message"]
    assert kari.open()[other]["cause"] == "waiting"
    dsn = cluster.dsn(books.info.dbname, "hlf_sync")
    told = command({"HLF_SYNC_POSTGRES_DSN": dsn}, "pending", "--json").content["items"]
    of_web = {name: (one["cause"], one["state"]) for name, one in kari.open().items()}
    assert {one["mentor_id"]: (one["cause"], one["state"]) for one in told} == of_web
    books.execute("DELETE FROM hlf_sync.pause")
    until(lambda: kari.open()[mentor_id]["cause"] == "waiting")


def test_a_former_contact_that_is_still_shown_is_open_until_its_new_mentor_speaks_for_it(
    books: Connection, kari: Caller
) -> None:
    """The worker hides it first; so the page says that something is open."""
    mentor_id, heir = mentor(books, "reinstated"), mentor(books, "active")
    books.execute("DELETE FROM app.certification WHERE mentor_id = %s", (mentor_id,))
    former, new = str(uuid.uuid4()), str(uuid.uuid4())
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", (mentor_id, new))
    ledger(books, mentor_id, contact_id=former)
    item = until(lambda: kari.open().get(mentor_id))
    assert (item["should_be"], item["shown"]) == ("hidden", "visible")
    books.execute("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", (heir, former))
    until(lambda: mentor_id not in kari.open())
    books.execute("UPDATE app.mentor SET organization_code = 'NKS' WHERE id = %s", (heir,))
    until(lambda: mentor_id in kari.open())


def test_a_pause_of_all_deliveries_is_told_and_no_update_is_on_its_way(
    books: Connection, kari: Caller
) -> None:
    mentor_id = mentor(books)
    until(lambda: mentor_id in kari.open())
    books.execute("INSERT INTO hlf_sync.pause (paused_by, reason) VALUES ('me', 'a test')")
    until(lambda: (kari.open().get(mentor_id) or {}).get("cause") == "paused")
    page = kari.get("/api/v1/pending").json()
    assert (page["verdict"], page["verdict_reason"]) == ("halted", "paused")
    books.execute("DELETE FROM hlf_sync.pause")
    until(lambda: (kari.open().get(mentor_id) or {}).get("cause") != "paused")


def test_behind_the_open_circuit_the_next_try_is_told(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books)
    until(lambda: mentor_id in kari.open())
    books.execute(
        "INSERT INTO hlf_sync.circuit (organization, state, failure_count, opened_at,"
        " last_error_code) VALUES ('HLF', 'open', 3, now(), 'server_error')"
    )
    item = until(lambda: (i := kari.open()[mentor_id])["cause"] == "circuit_open" and i)
    row = books.execute("SELECT opened_at + interval '60 s' FROM hlf_sync.circuit").fetchone()
    assert row is not None and datetime.fromisoformat(item["next_try_at"]) == row[0]
    head = kari.get("/api/v1/pending").json()
    assert head["verdict"] == "stalled"
    # A mentor that was given up does not go out by itself: the sentence for all says so too.
    assert "given up need 'Sync now'" in head["verdict_message"]


def test_another_organisations_circuit_is_not_ours(books: Connection, kari: Caller) -> None:
    books.execute(
        "INSERT INTO hlf_sync.circuit (organization, state, failure_count, opened_at) VALUES"
        " ('NKS', 'open', 3, now())"
    )
    mentor_id = mentor(books)
    assert until(lambda: kari.open().get(mentor_id))["cause"] == "waiting"


def test_the_list_comes_in_pages_the_oldest_first(books: Connection, kari: Caller) -> None:
    for days in range(7):
        mentor_id = mentor(books, "active", valid=False)
        ledger(books, mentor_id)
        books.execute(
            "UPDATE app.certification SET expires_at = now() - %s * interval '1 day' WHERE"
            " mentor_id = %s",
            (days + 1, mentor_id),
        )
    until(lambda: len(kari.open()) == 7)
    seen: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while (cursor := page["next_cursor"]) is not None:
        page = kari.get(f"/api/v1/pending?limit=3&cursor={cursor}" if cursor else
                        "/api/v1/pending?limit=3").json()  # fmt: skip
        seen += page["items"]
    assert len(seen) == 7
    assert [item["since"] for item in seen] == sorted(item["since"] for item in seen)
    assert page["counts"]["pending"] == 7


@pytest.mark.requirement("R83")
def test_another_organisations_mentor_and_an_unknown_one_look_the_same(
    books: Connection, kari: Caller
) -> None:
    theirs, unknown = mentor(books, organization="NKS"), str(uuid.uuid4())
    left = mentor(books, organization="NKS")  # was ours once; settled as theirs
    ledger(books, left, applied="hidden", state="out_of_scope")
    ours = mentor(books)
    until(lambda: ours in kari.open())
    assert set(kari.open()) == {ours}
    answers = []
    for mentor_id in (theirs, left, unknown):
        found = kari.get(f"/api/v1/mentors/{mentor_id}")
        forced = kari.post(f"/api/v1/mentors/{mentor_id}/sync", {"reason": "why"})
        answers.append((found.status_code, found.content, forced.status_code, forced.content))
    assert answers[0][0] == answers[0][2] == 404
    assert answers[0] == answers[1] == answers[2]
    count = books.execute("SELECT count(*) FROM hlf_sync.sync_request WHERE mentor_id = ANY (%s)",
                          ([theirs, left, unknown],)).fetchone()  # fmt: skip
    assert count == (0,)


@pytest.mark.requirement("R83")
def test_another_organisations_coordinator_is_told_nothing(
    books: Connection, service: Service, issuer: Issuer, kari: Caller
) -> None:
    ours, theirs = mentor(books), mentor(books, organization="NKS")
    until(lambda: ours in kari.open())
    stranger = Caller(service, issuer, app_metadata={"organization": "NKS"})
    paths = ["pending", "events", "requests/1", *(f"mentors/{m}" for m in (ours, theirs, "x"))]
    answers = {stranger.get(f"/api/v1/{path}").content for path in paths}
    answers |= {stranger.post(f"/api/v1/mentors/{m}/sync", {"reason": "x"}).content
                for m in (ours, theirs)}  # fmt: skip
    assert len(answers) == 1
    assert json.loads(answers.pop())["status"] == 403


def test_a_mentor_that_left_and_is_still_shown_is_open(books: Connection, kari: Caller) -> None:
    left, gone = mentor(books, organization="NKS"), str(uuid.uuid4())
    ledger(books, left)
    ledger(books, gone)
    found = until(lambda: (o := kari.open()).keys() >= {left, gone} and o)
    assert {found[left]["should_be"], found[gone]["should_be"]} == {"hidden"}


def test_a_request_is_written_once_per_key_and_says_who_and_why(
    books: Connection, service: Service, issuer: Issuer, kari: Caller
) -> None:
    mentor_id = mentor(books)
    path = f"/api/v1/mentors/{mentor_id}/sync"
    first = kari.post(path, {"reason": " she asked  "}, Idempotency_Key="k1")
    again = kari.post(path, {"reason": "she asked"}, Idempotency_Key="k1")
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert first.headers["location"] == f"/api/v1/requests/{first.json()['request_id']}"
    other = Caller(service, issuer, sub="ola").post(path, {"reason": "x"}, Idempotency_Key="k1")
    assert other.json() != first.json()
    rows = books.execute(
        "SELECT triggered_by, reason FROM hlf_sync.sync_request WHERE mentor_id = %s ORDER BY id",
        (mentor_id,),
    ).fetchall()
    assert rows == [
        ("manual_coordinator_action", "she asked"),
        ("manual_coordinator_action", "x"),
    ]
    assert kari.post(path, {"reason": "another"}, Idempotency_Key="k1").status_code == 422


def test_the_eleventh_request_of_a_minute_is_refused_and_told_when(
    books: Connection, service: Service, issuer: Issuer, kari: Caller
) -> None:
    mentor_id = mentor(books)
    path = f"/api/v1/mentors/{mentor_id}/sync"
    answers = [kari.post(path, {"reason": "x"}, Idempotency_Key=f"key {n}") for n in range(11)]
    assert [answer.status_code for answer in answers] == [202] * 10 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert kari.post(path, {"reason": "x"}, Idempotency_Key="key 3").status_code == 202
    assert Caller(service, issuer, sub="ola-2").post(path, {"reason": "x"}).status_code == 202


def test_what_became_of_a_request_is_told(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books)
    ledger(books, mentor_id)
    path = kari.post(f"/api/v1/mentors/{mentor_id}/sync", {"reason": "x"}).headers["location"]
    assert kari.get(path).json()["state"] == "waiting"
    ledger(books, mentor_id, state="dead_lettered", last_error_code="rejected")
    failed = kari.get(path).json()
    assert (failed["state"], failed["outcome"]) == ("failed", "rejected")
    books.execute(
        "INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation,"
        " triggered_by, started_at, duration_ms, outcome) VALUES (%s, 1, 1, 'remove',"
        " 'manual_coordinator_action', now(), 90, 'applied')",
        (mentor_id,),
    )
    ledger(books, mentor_id, applied="hidden", last_error_code=None)
    done = kari.get(path).json()
    assert (done["state"], done["outcome"]) == ("done", "delivered")
    one = kari.get(f"/api/v1/mentors/{mentor_id}").json()
    assert one["state"] == "in_sync" and one["last_delivered_at"]


def test_a_look_that_found_nothing_to_do_is_done(books: Connection, kari: Caller) -> None:
    mentor_id = mentor(books)
    ledger(books, mentor_id, applied="hidden")
    path = kari.post(f"/api/v1/mentors/{mentor_id}/sync", {"reason": "x"}).headers["location"]
    assert kari.get(path).json()["state"] == "waiting"
    ledger(books, mentor_id, applied="hidden")
    assert kari.get(path).json()["outcome"] == "nothing_to_do"


# ── sessions ──────────────────────────────────────────────────────────────────────────────────


def test_a_session_lets_in_like_its_token_and_ends_for_good(
    service: Service, issuer: Issuer
) -> None:
    token = issuer.token(sub="ends")
    begun = httpx.post(f"{service.url}/session", data={"token": token}, trust_env=False)
    assert (begun.status_code, begun.headers["location"]) == (303, "/")
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
    age = int(cookie.partition("Max-Age=")[2].partition(";")[0])
    assert 580 < age <= 600
    with httpx.Client(base_url=service.url, trust_env=False, cookies=begun.cookies) as page:
        assert page.get("/api/v1/pending").status_code == 200
        assert page.delete("/session").status_code == 204
    head, payload, signature = token.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters[letters.index(signature[-1]) ^ 1]
    spelled = (
        f"{head}.{payload}.{signature[:-1]}{last}"  # the same signature: its last bits say nothing
    )
    for replayed in (token, spelled):
        for headers in (
            {"Authorization": f"Bearer {replayed}"},
            {"Cookie": f"hlf_sync_session={replayed}"},
        ):
            assert service.client.get("/api/v1/pending", headers=headers).status_code == 401
    other = issuer.bearer(sub="ends", iat=epoch_ms() // 1000 - 20)
    assert service.client.get("/api/v1/pending", headers=other).status_code == 200


def test_elsewhere_than_on_this_machine_the_cookie_needs_tls_and_this_very_host(
    service: Service, issuer: Issuer
) -> None:
    token, elsewhere = issuer.token(sub="secure"), {"Host": "sync.example.org"}
    answer = service.client.post("/session", json={"token": token}, headers=elsewhere)
    kept = answer.headers["set-cookie"]
    service.client.cookies.clear()
    assert kept.startswith("__Host-hlf_sync_session=")
    assert {"Secure", "Path=/"} <= set(kept.split("; "))
    assert "Domain" not in kept
    for name, status in (("__Host-hlf_sync_session", 200), ("hlf_sync_session", 401)):
        sent = {**elsewhere, "Cookie": f"{name}={token}"}
        assert service.client.get("/api/v1/pending", headers=sent).status_code == status


def test_a_refused_sign_in_is_told_to_programs_and_to_people(
    service: Service, issuer: Issuer
) -> None:
    bad = issuer.token(aud="other")
    assert service.client.post("/session", data={"token": bad}).status_code == 401
    person = service.client.post("/session", data={"token": bad}, headers={"Accept": "text/html"})
    assert person.headers["location"] == "/?refused=audience"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://attacker.example.org"},
        {"Origin": "null"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_sites_page_changes_nothing_by_the_cookie(
    headers: dict[str, str], service: Service, issuer: Issuer, books: Connection
) -> None:
    mentor_id = mentor(books)
    sent = {"Cookie": f"hlf_sync_session={issuer.token()}", **headers}
    client = service.client
    path = f"/api/v1/mentors/{mentor_id}/sync"
    assert client.post(path, json={"reason": "x"}, headers=sent).status_code == 403
    assert client.delete("/session", headers=sent).status_code == 403
    login = client.post("/session", data={"token": issuer.token()}, headers=headers)
    assert login.status_code == 403


def test_the_pages_own_requests_by_the_cookie_are_taken(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    mentor_id = mentor(books)
    cookie = {"Cookie": f"hlf_sync_session={issuer.token(sub='page')}"}
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": service.url}, {}):
        answer = service.client.post(
            f"/api/v1/mentors/{mentor_id}/sync", json={"reason": "x"}, headers={**cookie, **headers}
        )
        assert answer.status_code == 202


# ── other origins, headers, wrong requests ────────────────────────────────────────────────────


def test_an_allowed_origin_may_call_and_no_other(service: Service, kari: Caller) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    path = f"/api/v1/mentors/{uuid.uuid4()}/sync"
    preflight = service.client.options(path, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == ORIGIN
    assert "Idempotency-Key" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    assert (
        kari.get("/api/v1/pending", Origin=ORIGIN).headers["access-control-allow-origin"] == ORIGIN
    )
    for origin in (ORIGIN.upper(), f"{ORIGIN}.attacker.example.org", "null", ORIGIN + ":8443"):
        answer = service.client.options(path, headers={**asked, "Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/api/v1/pending", "/nowhere", "/healthz", "/openapi.json"])
def test_no_answer_is_kept_framed_or_run(path: str, service: Service) -> None:
    headers = service.client.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def _bodies() -> dict[str, tuple[bytes, str, int]]:
    json_type = "application/json"
    return {
        "no JSON": (b"{", json_type, 422),
        "a list": (b"[]", json_type, 422),
        "no reason": (b"{}", json_type, 422),
        "an empty reason": (b'{"reason": "  "}', json_type, 422),
        "a reason that is a number": (b'{"reason": 1}', json_type, 422),
        "a long reason": (json.dumps({"reason": "x" * 501}).encode(), json_type, 422),
        "a field more": (b'{"reason": "x", "secret-name": 1}', json_type, 422),
        "a NUL": (b'{"reason": "a\\u0000b"}', json_type, 422),
        "half a letter": (b'{"reason": "\\ud800"}', json_type, 422),
        "another type": (b"reason=x", "application/x-www-form-urlencoded", 415),
        "text": (b'{"reason": "x"}', "text/plain", 415),
        "a long body": (b"x" * 70_000, json_type, 413),
    }


@pytest.mark.parametrize("body", _bodies())
def test_a_wrong_body_is_told_what_is_wrong(
    body: str, service: Service, issuer: Issuer, books: Connection
) -> None:
    content, kind, status = _bodies()[body]
    answer = service.client.post(
        f"/api/v1/mentors/{mentor(books)}/sync",
        content=content,
        headers={**issuer.bearer(sub="wrong"), "Content-Type": kind},
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] and "secret-name" not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/pending?limit=0", 422),
        ("/api/v1/pending?limit=1001", 422),
        ("/api/v1/pending?limit=ten", 422),
        ("/api/v1/pending?limit=%F0%9D%9F%99", 422),
        ("/api/v1/pending?cursor=x", 422),
        ("/api/v1/pending?cursor=%00", 422),
        ("/api/v1/mentors/not-a-uuid", 422),
        ("/api/v1/mentors/%7B0b0f3a0e-0000-4000-8000-000000000001%7D", 422),
        ("/api/v1/requests/0", 404),
        ("/api/v1/requests/-1", 404),
        ("/api/v1/requests/99999999999999999999999", 404),
        ("/api/v1/requests/%27", 404),
        ("/api/v1/nowhere", 404),
        ("/api/v2/pending", 404),
    ],
)
def test_a_wrong_address_is_a_problem(path: str, status: int, kari: Caller) -> None:
    answer = kari.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_method_that_an_address_does_not_take_is_a_problem(kari: Caller) -> None:
    answer = kari.post("/api/v1/pending")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert "GET" in answer.headers["allow"]


def test_a_body_without_a_length_is_no_way_around_the_limit(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    answer = service.client.post(
        f"/api/v1/mentors/{mentor(books)}/sync",
        content=endless(),
        headers={**issuer.bearer(), "Content-Type": "application/json"},
    )
    assert answer.status_code == 413


def test_the_log_names_no_subject_and_no_token(
    service: Service, issuer: Issuer, books: Connection
) -> None:
    token = issuer.token(sub=SUBJECT)
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/api/v1/mentors/{mentor(books)}/sync"
    answer = service.client.post(path, json={"reason": "a secret reason"}, headers=headers)
    assert answer.status_code == 202
    until(lambda: '"web_forced"' in service.log.read_text())  # the log thread writes it later
    log = service.log.read_text()
    for secret in (SUBJECT, *token.split("."), "a secret reason"):
        assert secret not in log


def test_the_document_is_served_and_kept(service: Service) -> None:
    served = service.client.get("/openapi.json").json()
    assert served == document() == json.loads((ROOT / "docs/openapi.json").read_text())


# ── settings ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "HLF_SYNC_WEB_JWKS_URL"),
        ({"web_jwks_url": "http://keys.example.org"}, "HLF_SYNC_WEB_JWKS_URL"),
        ({"web_jwt_secret": "short"}, "HLF_SYNC_WEB_JWT_SECRET"),
        ({"web_jwt_secret": "x" * 40, "web_jwks_url": "https://keys.example.org"},
         "HLF_SYNC_WEB_JWT_SECRET"),
        ({"web_jwt_secret": "x" * 40, "web_jwt_issuer": ""}, "HLF_SYNC_WEB_JWT_ISSUER"),
        ({"web_jwt_secret": "x" * 40, "web_jwt_audience": ""}, "HLF_SYNC_WEB_JWT_AUDIENCE"),
        ({"web_jwt_secret": "x" * 40, "web_allowed_origins": "*"},
         "HLF_SYNC_WEB_ALLOWED_ORIGINS"),
        ({"web_jwt_secret": "x" * 40, "web_allowed_origins": "https://a.example.org/"},
         "HLF_SYNC_WEB_ALLOWED_ORIGINS"),
        ({"web_jwt_secret": "x" * 40, "web_mentor_url": "https://a.example.org/"},
         "HLF_SYNC_WEB_MENTOR_URL"),
        ({"web_jwt_secret": "x" * 40, "web_mentor_url": "javascript:{mentor_id}"},
         "HLF_SYNC_WEB_MENTOR_URL"),
        ({"web_jwt_secret": "x" * 40, "web_port": "99999"}, "HLF_SYNC_WEB_PORT"),
        ({"web_jwt_secret": "x" * 40, "web_postgres_dsn": "://"}, "HLF_SYNC_WEB_POSTGRES_DSN"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(settings: dict[str, str], named: str) -> None:
    environ = environment("host=127.0.0.1 port=1 dbname=x user=hlf_web", **settings)
    with pytest.raises(SettingsError, match=named) as raised:
        load(None, environ).require_web()
    assert "xxxx" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "HLF_SYNC_WEB_JWKS_URL"),
        ({"web_jwks_url": "/nowhere/jwks.json"}, "HLF_SYNC_WEB_JWKS_URL"),
        ({"web_jwt_secret": "x" * 40, "web_host": "no.such.host.invalid"}, "HLF_SYNC_WEB_PORT"),
    ],
)
def test_a_service_that_cannot_start_says_one_line_and_exits_2(
    settings: dict[str, str], named: str, tmp_path: Path
) -> None:
    environ = environment("host=127.0.0.1 port=1 dbname=x user=hlf_web", **settings)
    ended = subprocess.run(
        [sys.executable, "-m", "hlf_sync", "web"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
    assert ended.returncode == 2, ended.stderr
    assert len(said) == 1 and named in said[0]
    assert "xxxx" not in ended.stderr


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = environment("dbname=x", web_jwt_secret="x" * 40, web_port=port)
        ended = subprocess.run(
            [sys.executable, "-m", "hlf_sync", "web"],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert "in use already" in ended.stderr
