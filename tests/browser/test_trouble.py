"""What a coordinator sees when something is away, in a real browser: nothing that was typed is lost,
and the page goes on by itself.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.desk import Desk
from tests.chaos.proxy import Proxy
from tests.fixtures.web_process import WebProcess, token
from tests.fixtures.web_town import WebTown

SitDown = Callable[..., Desk]
_REASON = "Why? Others will see it."


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_a_session_that_ends_in_the_middle_of_work_says_so_and_keeps_what_was_typed(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.paused()
    own = desk(seconds=8)
    page = own.sign_in()
    expect(page.get_by_text("Your session ends in two minutes.")).to_be_visible()
    own.picture("session-ends-soon")
    own.card(mentor).get_by_text("Sync now").first.click()
    own.card(mentor).get_by_label(_REASON).fill("She rang this morning")
    expect(page.locator("#trouble")).to_contain_text("Your session has ended.")
    own.picture("session-ended")
    assert own.accessibility() == []
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(own.card(mentor).get_by_label(_REASON)).to_have_value("She rang this morning")
    assert town.requests(mentor) == 0
    page.get_by_role("link", name="Sign in again").click()
    expect(page.locator("h1")).to_have_text("Sign in")
    page.get_by_label("Token").fill(token())
    page.get_by_role("button", name="Sign in").click()
    expect(own.card(mentor).get_by_label(_REASON)).to_have_value("She rang this morning")
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(own.card(mentor)).to_contain_text("is taken")
    assert town.requests(mentor) == 1


@pytest.mark.postgres
def test_signing_in_again_in_another_tab_heals_this_one(desk: SitDown, town: WebTown) -> None:
    town.paused()
    own = desk(seconds=3)
    page = own.sign_in()
    expect(page.locator("#trouble")).to_contain_text("Your session has ended.")
    own.tab().goto(f"{own.service.url}/#token={token()}")
    expect(page.locator("#trouble")).to_be_empty()


@pytest.mark.postgres
def test_a_token_that_is_refused_is_told_on_the_page_to_sign_in(desk: SitDown) -> None:
    own = desk()
    for wrong, words in (
        (token(seconds=-3600), "Your session has ended. Sign in again to go on."),
        (token(organization="NHF"), "Your account does not belong to the organisation"),
        ("no.token.atall", "This token is not accepted. Ask for a new one."),
    ):
        own.page.goto("about:blank")
        own.page.goto(f"{own.service.url}/#token={wrong}")
        expect(own.page.locator(".banner.bad").get_by_text(words)).to_be_visible()
        assert wrong not in own.page.url
    own.picture("refused")
    assert own.accessibility() == []


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_postgresql_away_is_said_what_is_seen_stays_and_it_recovers_by_itself(
    desk: SitDown, town: WebTown, wire: Proxy
) -> None:
    mentor = town.paused()
    own = desk()
    page = own.sign_in()
    own.card(mentor).get_by_text("Sync now").first.click()
    own.card(mentor).get_by_label(_REASON).fill("while it is away")
    heal = wire.refuse()
    expect(page.locator("#trouble")).to_contain_text("The database is not answering.")
    expect(own.card(mentor)).to_be_visible()
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(own.card(mentor)).to_contain_text("The database did not answer")
    own.picture("database-away")
    assert own.accessibility() == []
    fresh = desk()
    fresh.page.goto(f"{own.service.url}/#token={token()}")
    expect(fresh.page.locator("h1")).to_have_text("The database is not answering")
    fresh.picture("database-away-from-the-start")
    assert fresh.accessibility() == []
    heal()
    expect(page.locator("#trouble")).to_be_empty()
    expect(fresh.page.locator("h1")).to_have_text("Pending visibility updates")
    own.card(mentor).get_by_role("button", name="Sync now").click()
    expect(own.card(mentor)).to_contain_text("is taken")
    assert town.requests(mentor) == 1
    town.deliver(mentor)
    expect(own.card(mentor)).to_contain_text("Dynamics has the update.")


@pytest.mark.postgres
def test_the_services_restart_is_survived_by_an_open_page(
    desk: SitDown, town: WebTown, service: WebProcess
) -> None:
    mentor = town.mentor()
    own = desk()
    page = own.sign_in()
    expect(page.get_by_text("This page renews itself.")).to_be_visible()
    service.stop()
    expect(page.locator("#trouble")).to_contain_text("No connection.")
    town.pause(mentor)
    service.restart()
    expect(own.card(mentor)).to_be_visible()
    expect(page.locator("#trouble")).to_be_empty()
