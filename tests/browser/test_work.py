"""A coordinator's work in a real browser: what waits, why, 'Sync now', and its outcome."""

import re
from collections.abc import Callable
from time import monotonic

import pytest
from playwright.sync_api import expect

from tests.browser.desk import Desk
from tests.fixtures.web_process import token
from tests.fixtures.web_town import WebTown

SitDown = Callable[..., Desk]


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_signing_in_by_the_link_shows_that_all_is_delivered_and_leaves_no_token_behind(
    desk: SitDown, town: WebTown
) -> None:
    town.mentor()
    own = desk()
    page = own.sign_in()
    expect(page.get_by_text("All visibility updates are delivered")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Checked at \d\d:\d\d \(Oslo\)\."))).to_be_visible()
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    assert "eyJ" not in page.content()
    expect(page.get_by_text("This page renews itself.")).to_be_visible()
    own.picture("all-delivered")


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_a_pause_appears_within_two_seconds_of_its_commit_and_goes_when_it_is_delivered(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.mentor()
    own = desk()
    page = own.sign_in()
    expect(page.get_by_text("This page renews itself.")).to_be_visible()
    town.pause(mentor)
    committed_s = monotonic()
    expect(own.card(mentor)).to_be_visible()
    seconds = monotonic() - committed_s
    assert seconds < 2, f"{seconds:.2f} s"
    expect(own.card(mentor)).to_contain_text(re.compile(r"Should be\s*Hidden\s*Is now\s*Shown"))
    expect(page.get_by_text("1 visibility update is pending.")).to_be_visible()
    town.deliver(mentor)
    expect(own.card(mentor)).to_have_count(0)
    expect(page.get_by_text("All visibility updates are delivered")).to_be_visible()


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_an_outage_is_told_in_words_with_the_next_try(desk: SitDown, town: WebTown) -> None:
    mentor = town.paused()
    own = desk()
    page = own.sign_in()
    town.fail(mentor)
    expect(own.card(mentor)).to_contain_text("Dynamics had an error. It is tried again by itself.")
    town.circuit("open")
    expect(page.locator(".banner").get_by_text("Dynamics is not answering.")).to_be_visible()
    expect(own.card(mentor)).to_contain_text("Dynamics is not answering. This update waits")
    expect(own.card(mentor)).to_contain_text(re.compile(r"Next try\s*\d\d:\d\d \(in \d+ \w+\)"))
    own.picture("dynamics-away")
    town.circuit("closed")
    town.deliver(mentor)
    expect(page.get_by_text("Updates are being delivered as usual.")).to_be_visible()


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_sync_now_is_taken_and_its_outcome_arrives_without_a_reload(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.paused()
    own = desk()
    page = own.sign_in()
    page.evaluate("window.isTheSame = true")
    own.card(mentor).get_by_text("Sync now").first.click()
    own.card(mentor).get_by_label("Why? Others will see it.").fill("She must be off the page today")
    own.picture("sync-now")
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(own.card(mentor)).to_contain_text(re.compile(r"Your request of \d\d:\d\d is taken\."))
    assert town.requests(mentor) == 1
    own.picture("sync-taken")
    town.deliver(mentor)
    done = re.compile(r"Your request of \d\d:\d\d is done: Dynamics has the update\.")
    expect(page.locator("#news")).to_contain_text(done)
    expect(own.card(mentor)).to_contain_text(done)
    own.picture("sync-done")
    assert page.evaluate("window.isTheSame")


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_a_request_that_fails_says_why(desk: SitDown, town: WebTown) -> None:
    mentor = town.paused()
    own = desk()
    page = own.sign_in()
    page.goto(f"{own.service.url}/mentors/{mentor}")
    page.get_by_label("Why? Others will see it.").fill("again please")
    page.get_by_role("button", name="Sync now").click()
    expect(own.card(mentor)).to_contain_text("is taken")
    town.give_up(mentor, "rejected")
    expect(page.locator("#news")).to_contain_text("did not succeed. Dynamics refused it.")
    expect(own.card(mentor)).to_contain_text("Given up")
    expect(own.card(mentor)).to_contain_text("Ask the administrator to look at the contact")


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_two_coordinators_see_the_same_and_one_sees_what_the_other_asked(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.paused()
    first, second = desk(subject="first"), desk(subject="second")
    first.sign_in()
    second.sign_in()
    second.card(mentor).get_by_text("Sync now").first.click()
    field = second.card(mentor).get_by_label("Why? Others will see it.")
    field.fill("my own words, half")
    first.card(mentor).get_by_text("Sync now").first.click()
    first.card(mentor).get_by_label("Why? Others will see it.").fill("She rang")
    first.card(mentor).get_by_role("button", name="Sync now").click()
    town.fail(mentor)  # the ledger's news reach both pages
    expect(second.card(mentor)).to_contain_text(
        re.compile(r"Another coordinator asked at \d\d:\d\d: “She rang”")
    )
    expect(field).to_have_value("my own words, half")
    expect(field).to_be_focused()
    town.deliver(mentor)
    expect(first.card(mentor)).to_contain_text("Dynamics has the update.")
    expect(second.card(mentor)).to_contain_text("Delivered meanwhile")
    second.page.get_by_role("link", name="Requests").click()
    expect(second.page.get_by_role("row")).to_have_count(2)
    expect(second.page.locator("tbody")).to_contain_text("She rang")
    second.picture("requests")


@pytest.mark.postgres
def test_a_mentor_is_found_by_its_uuid_with_its_last_deliveries_in_words(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.paused()
    town.fail(mentor)
    town.deliver(mentor)
    own = desk()
    page = own.sign_in()
    page.get_by_label("Mentor’s UUID").fill(str(mentor).upper())
    page.get_by_role("button", name="Find").click()
    expect(own.card(mentor)).to_contain_text("Nothing is pending for this mentor.")
    expect(
        page.get_by_text("Hidden on the portal. Because the mentor’s status changed.")
    ).to_be_visible()
    expect(
        page.get_by_text("not certain whether it took effect. Dynamics had an error.")
    ).to_be_visible()
    assert page.get_by_role("link", name="Open in the application").get_attribute("href") == (
        f"https://mentors.example.org/mentors/{mentor}"
    )
    assert "Kari" not in page.content()
    own.picture("mentor")
    page.goto(f"{own.service.url}/find?mentor=Kari")
    expect(page.get_by_text("This is not a UUID.").first).to_be_visible()
    own.picture("not-a-uuid")


@pytest.mark.postgres
def test_without_a_script_the_page_is_read_and_sync_now_works(desk: SitDown, town: WebTown) -> None:
    mentor = town.paused()
    own = desk(is_scripted=False)
    page = own.page
    page.goto(own.service.url)
    page.get_by_label("Token").fill(token())
    page.get_by_role("button", name="Sign in").click()
    expect(own.card(mentor)).to_contain_text("Should be")
    expect(page.get_by_text("Reload the page to see what is new.")).to_be_visible()
    own.card(mentor).get_by_text("Sync now").first.click()
    own.card(mentor).get_by_label("Why? Others will see it.").fill("without a script")
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(page.get_by_text(re.compile(r"Your request of \d\d:\d\d is taken\."))).to_be_visible()
    assert town.requests(mentor) == 1
    town.deliver(mentor)
    page.reload()
    expect(page.get_by_text("Dynamics has the update.")).to_be_visible()


@pytest.mark.postgres
def test_in_norwegian_by_the_browsers_wish_and_by_hand(desk: SitDown, town: WebTown) -> None:
    town.paused()
    own = desk(language="nb-NO")
    own.page.goto(f"{own.service.url}/#token={token()}")
    expect(own.page.locator("h1")).to_have_text("Ventende synlighetsendringer")
    expect(own.page.get_by_text("1 synlighetsendring venter.")).to_be_visible()
    own.picture("norsk")
    own.page.get_by_role("link", name="English").click()
    expect(own.page.locator("h1")).to_have_text("Pending visibility updates")
    assert own.page.locator("html").get_attribute("lang") == "en"


@pytest.mark.postgres
def test_ten_open_tabs_leave_room_for_work(desk: SitDown, town: WebTown) -> None:
    """A browser opens six connections to a host: hidden tabs must give theirs back."""
    mentor = town.paused()
    own = desk()
    own.sign_in()
    for _tab in range(9):
        own.page = own.tab()
        own.page.goto(own.service.url)
    expect(own.card(mentor)).to_be_visible()
    town.deliver(mentor)
    expect(own.card(mentor)).to_have_count(0)
