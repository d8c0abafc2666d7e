"""The page over books in memory: what is shown, what is never shown, and what happens when something
is wrong. What only a browser can tell: tests/browser.
"""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hlf_sync.web.models import Forced, PastCall, RequestStatus
from hlf_sync.web.problems import ProblemError
from starlette.exceptions import HTTPException

from tests.fakes.web_books import MENTOR, NOW, Books, item, page_app


@pytest.fixture
def books() -> Books:
    """What the page asks."""
    return Books()


@pytest.fixture
async def browser(books: Books) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is signed in."""
    transport = httpx.ASGITransport(app=page_app(books))
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1",
        cookies={"hlf_sync_session": "good"},
        headers={"sec-fetch-site": "same-origin"},
    ) as client:
        yield client


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


async def test_an_open_update_says_what_should_be_what_is_since_when_why_and_what_next(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [
        item(cause="circuit_open", next_try_at=NOW + timedelta(minutes=2), attempt_count=2)
    ]
    text = _words((await browser.get("/")).text)
    assert "Should be Hidden Is now Shown" in text
    assert "Since 14:01 ( 4 minutes ago )" in text
    assert "Next try 14:07 ( in 2 minutes ) after 2 tries" in text
    assert "Why it waits Dynamics is not answering." in text


async def test_a_next_try_that_is_due_is_not_told_as_past(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item(cause="retrying", next_try_at=NOW - timedelta(seconds=2))]
    assert "Next try 14:04 ( now )" in _words((await browser.get("/")).text)


async def test_every_cause_has_its_sentence_and_an_unknown_one_the_services_own(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item(cause="a_new_one", message="Said by the service.")]
    assert "Said by the service." in (await browser.get("/")).text


async def test_what_coordinators_and_services_write_is_never_markup(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item()]
    books.asked = [
        Forced(
            request_id="1",
            mentor_id=MENTOR,
            created_at=NOW,
            requested_by="<b>me</b>",
            reason='<script>alert(1)</script>" onfocus=x',
        )
    ]
    for path in ("/", f"/mentors/{MENTOR}", "/requests"):
        text = (await browser.get(path)).text
        assert "<script>alert" not in text
        assert "<b>me" not in text
        assert '" onfocus' not in text
    found = await browser.get("/find", params={"mentor": '"><script>x'})
    assert "<script>x" not in found.text


async def test_no_page_needs_an_inline_script_or_style(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item(url="https://mentors.example.org/1")]
    for path in ("/", f"/mentors/{MENTOR}", "/requests", "/find?mentor=x"):
        text = (await browser.get(path)).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)


@pytest.mark.parametrize("text", ["", "Kari", "3f2a1b4c", "' OR 1=1", "\0", "9" * 500])
async def test_a_search_for_anything_but_a_uuid_says_so(
    browser: httpx.AsyncClient, text: str
) -> None:
    found = await browser.get("/find", params={"mentor": text})
    assert found.status_code == 404
    assert 'aria-invalid="true"' in found.text


@pytest.mark.parametrize(
    "spelling", [str(MENTOR), str(MENTOR).upper(), MENTOR.hex, f"  {{{MENTOR}}} ", MENTOR.urn]
)
async def test_a_uuid_is_found_in_every_spelling(browser: httpx.AsyncClient, spelling: str) -> None:
    found = await browser.get("/find", params={"mentor": spelling})
    assert (found.status_code, found.headers["location"]) == (303, f"/mentors/{MENTOR}")


async def test_an_unknown_mentor_is_told_as_a_page_in_the_readers_language(
    browser: httpx.AsyncClient,
) -> None:
    found = await browser.get(f"/mentors/{uuid4()}", headers={"accept-language": "nb"})
    assert found.status_code == 404
    assert "Ingen likeperson med denne UUID-en er kjent her." in found.text


async def test_a_cursor_that_is_none_leads_back_to_the_first_page(
    browser: httpx.AsyncClient,
) -> None:
    found = await browser.get("/?cursor=wrong")
    assert (found.status_code, found.headers["location"]) == (303, "/")


async def test_a_long_list_has_a_next_page_and_a_way_back(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items, books.next_cursor = [item()], "a+b&c"
    assert 'href="/?cursor=a%2Bb%26c" rel="next"' in (await browser.get("/")).text
    assert 'href="/">Back to the oldest ones' in (await browser.get("/?cursor=x")).text


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("applied", "Hidden on the portal."),
        ("refused", "Hiding failed. Dynamics refused it."),
        ("unknown", "not certain whether it took effect"),
        ("late", "not certain whether it took effect"),
        ("released", "called off before it was sent"),
        ("something new", "not certain whether it took effect"),
    ],
)
async def test_a_delivery_is_told_in_words(
    browser: httpx.AsyncClient, books: Books, outcome: str, words: str
) -> None:
    books.items = [item()]
    books.calls = [
        PastCall(
            at=NOW,
            operation="remove",
            triggered_by="status_change",
            reason="paused",
            attempt_number=1,
            outcome=outcome,
            error_code="rejected",
            http_status=400,
        )
    ]
    text = (await browser.get(f"/mentors/{MENTOR}")).text
    assert words in text
    assert "Because the mentor’s status changed." in text


@pytest.mark.parametrize(
    ("state", "outcome", "words"),
    [
        ("waiting", None, "is taken. Its outcome appears here by itself."),
        ("done", "delivered", "is done: Dynamics has the update."),
        ("done", "nothing_to_do", "is done: there was nothing to change."),
        ("failed", "mentor_mapping", "did not succeed. The mentor has no contact in Dynamics yet."),
        ("failed", "unknown_status", "did not succeed. The last try did not succeed."),
    ],
)
async def test_a_requests_outcome_is_told_in_words(
    browser: httpx.AsyncClient, books: Books, state: str, outcome: str | None, words: str
) -> None:
    books.items = [item()]
    books.requests[7] = RequestStatus(
        request_id="7",
        mentor_id=MENTOR,
        created_at=NOW,
        requested_by="coordinator-1",
        state=state,
        outcome=outcome,
    )
    part = await browser.get("/asked/7")
    assert words in part.text
    assert f'data-state="{state}"' in part.text
    assert words in (await browser.get(f"/mentors/{MENTOR}?request=7")).text


@pytest.mark.parametrize("wrong", ["", "x", "8", "²", "9" * 40, "-1"])
async def test_a_request_of_another_address_is_no_error(
    browser: httpx.AsyncClient, books: Books, wrong: str
) -> None:
    books.items = [item()]
    assert (await browser.get(f"/mentors/{MENTOR}", params={"request": wrong})).status_code == 200


@pytest.mark.parametrize(
    ("who", "said", "column"),
    [
        ({"requested_by": "coordinator-1"}, "You asked at", "You"),
        ({"requested_by": "coordinator-2"}, "Another coordinator asked at", "coordinator-2"),
        ({"requested_by": None}, "The application asked at", "The application"),
        (
            {"requested_by": "root", "is_by_operator": True},
            "The administrator asked at",
            "The administrator (root)",
        ),
    ],
)
async def test_who_asked_is_told_apart(
    browser: httpx.AsyncClient, books: Books, who: dict[str, Any], said: str, column: str
) -> None:
    """Red before: of an operator's `force`, 'Another coordinator asked'."""
    books.items = [item()]
    books.asked = [Forced(request_id="1", mentor_id=MENTOR, created_at=NOW, reason="why", **who)]
    assert said in (await browser.get("/")).text
    assert f'class="who">{column}</td>' in (await browser.get("/requests")).text


async def test_times_say_whose_clock_and_controls_name_the_mentor_as_the_card_does(
    browser: httpx.AsyncClient, books: Books
) -> None:
    """Red before: no zone anywhere, and a button 'for mentor 6f1a1f3c'."""
    books.items = [item()]
    for path in ("/", f"/mentors/{MENTOR}", "/requests"):
        assert "All times are those of Oslo." in (await browser.get(path)).text
    text = (await browser.get("/")).text
    assert " (Oslo)." in text
    names = re.findall(r'class="unseen"> ?(for mentor [^<]*)<', text)
    assert set(names) == {f"for mentor {MENTOR}"}
    assert len(names) >= 3


async def test_sync_now_without_a_script_leads_to_the_mentors_page(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item()]
    taken = await browser.post(f"/mentors/{MENTOR}/sync", data={"reason": " she rang ", "key": "k"})
    assert taken.headers["location"] == f"/mentors/{MENTOR}?request=7"
    assert books.asked[0].reason == "she rang"


@pytest.mark.parametrize(
    ("reason", "problem", "status", "words"),
    [
        ("  ", None, 422, "Please say why."),
        ("x" * 501, None, 422, "500 characters at most"),
        ("why", ProblemError(429, "slow down"), 429, "more often than ten times a minute"),
        ("why", ProblemError(404, "nobody"), 404, "This mentor is not known here."),
        ("why", ProblemError(400, "key"), 400, "Reload the page and try again."),
    ],
)
async def test_sync_now_that_is_not_taken_says_why_and_keeps_what_was_written(
    browser: httpx.AsyncClient,
    books: Books,
    reason: str,
    problem: ProblemError | None,
    status: int,
    words: str,
) -> None:
    books.items, books.refusal = [item()], problem
    page = await browser.post(f"/mentors/{MENTOR}/sync", data={"reason": reason})
    assert page.status_code == status
    assert words in page.text
    assert reason.strip()[:500] in page.text
    part = await browser.post(
        f"/mentors/{MENTOR}/sync", data={"reason": reason}, headers={"x-page-part": "1"}
    )
    assert part.status_code == status
    assert words in part.text
    assert "<html" not in part.text


async def test_what_another_site_makes_the_browser_send_changes_nothing(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item()]
    answer = await browser.post(
        f"/mentors/{MENTOR}/sync",
        data={"reason": "evil"},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403
    assert books.asked == []


async def test_while_postgresql_is_away_every_page_says_so_with_503(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.is_away = True
    for path in ("/", f"/mentors/{MENTOR}", "/requests"):
        page = await browser.get(path)
        assert page.status_code == 503
        assert "Nothing is lost; this page goes on by itself" in page.text
    asked = await browser.post(
        f"/mentors/{MENTOR}/sync", data={"reason": "why"}, headers={"x-page-part": "1"}
    )
    assert asked.status_code == 503
    assert "so the request was not taken" in asked.text


@pytest.mark.parametrize(
    ("cookie", "status", "words"),
    [
        ("", 401, "Open this page from the application"),
        ("expired", 401, "Your session has ended. Sign in again to go on."),
        ("ended", 401, "Your session has ended. Sign in again to go on."),
        ("signature", 401, "This token is not accepted."),
        ("other", 403, "Your account does not belong to the organisation"),
    ],
)
async def test_who_is_not_let_in_sees_why_and_nothing_else(
    browser: httpx.AsyncClient, books: Books, cookie: str, status: int, words: str
) -> None:
    books.items = [item()]
    browser.cookies.set("hlf_sync_session", cookie)
    for path in ("/", f"/mentors/{MENTOR}", "/requests", "/find?mentor=x", "/asked/7"):
        page = await browser.get(path)
        assert page.status_code == status
        assert words in page.text
        assert str(MENTOR) not in page.text.replace(f"to=%2Fmentors%2F{MENTOR}", "").replace(
            f"/mentors/{MENTOR}", ""
        )


@pytest.mark.parametrize(
    ("to", "leads"),
    [
        ("/requests", "/requests"),
        ("/?cursor=a", "/?cursor=a"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\r\nx: y", "/"),
        ("", "/"),
    ],
)
async def test_changing_the_language_leads_back_and_never_elsewhere(
    browser: httpx.AsyncClient, to: str, leads: str
) -> None:
    answer = await browser.get("/language/nb", params={"to": to})
    assert answer.headers["location"] == leads
    assert "hlf_sync_language=nb" in answer.headers["set-cookie"]
    assert "set-cookie" not in (await browser.get("/language/xx")).headers


async def test_the_verdict_is_told_in_words_whatever_its_reason(
    browser: httpx.AsyncClient, books: Books
) -> None:
    for verdict, words in (
        (("ok", "caught_up"), "Updates are being delivered as usual."),
        (("halted", "auth"), "The administrator must renew them"),
        (("halted", "mass_removal"), "all other updates go out"),
        (("halted", "a_new_halt"), "Deliveries are stopped until the administrator acts."),
        (("stopped", "no_worker"), "The delivery service is not running."),
        (("stalled", "throttled"), "Dynamics has asked for a pause."),
    ):
        books.verdict = verdict
        assert words in (await browser.get("/")).text


@pytest.mark.parametrize(
    ("verdict", "language", "words"),
    [
        (("stalled", "kafka_down"), "en",
         "Changes are not read at the moment (Kafka is away since 14:01). Updates wait and go out"),
        (("stalled", "kafka_down"), "nb",
         "Endringer leses ikke akkurat nå (Kafka er borte siden kl. 14:01). De venter, og sendes"),
        (("stopped", "no_worker"), "en", "has not been heard of since 14:01."),
        (("stopped", "no_worker"), "nb", "har ikke gitt lyd fra seg siden kl. 14:01."),
        (("stopped", "a_new_one"), "en", "Deliveries have been stopped since 14:01"),
        (("stalled", "postgresql_down"), "en", "Deliveries have been held up since 14:01."),
        (("lagging", "wrongly_listed"), "nb", "tar lengre tid enn vanlig (siden kl. 14:01)"),
    ],
)  # fmt: skip
async def test_what_the_workers_report_is_told_with_since_when(
    browser: httpx.AsyncClient,
    books: Books,
    verdict: tuple[str, str],
    language: str,
    words: str,
) -> None:
    books.verdict, books.verdict_since = verdict, NOW - timedelta(minutes=4)
    answer = await browser.get("/", headers={"accept-language": language})
    assert words in _words(answer.text)


async def test_who_is_held_back_is_told_of_beside_what_holds_up_all(
    browser: httpx.AsyncClient, books: Books
) -> None:
    books.items = [item(state="held", cause="held")]
    words = "Besides, unusually many mentors would be hidden at once"
    for verdict, is_told in (
        (("stopped", "no_worker"), True),
        (("stalled", "circuit_open"), True),
        (("halted", "mass_removal"), False),
        (("ok", "caught_up"), False),
    ):
        books.verdict = verdict
        assert (words in (await browser.get("/")).text) is is_told


async def test_static_files_are_ours_alone_and_no_way_out_of_their_folder(
    browser: httpx.AsyncClient,
) -> None:
    assert (
        (await browser.get("/static/page.js")).headers["content-type"].startswith("text/javascript")
    )
    for path in ("/static/..%2froutes.py", "/static/%2e%2e/words/en.ftl", "/static/"):
        try:
            assert (await browser.get(path)).status_code == 404
        except HTTPException as error:
            assert error.status_code == 404  # noqa: PT017 - the service's handler is not here
