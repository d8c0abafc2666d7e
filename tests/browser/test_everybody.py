"""The page is for everybody: axe finds nothing in any state, in light and dark; it is worked by the
keyboard alone, read on a phone, and in both languages.
"""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from tests.browser.desk import Desk
from tests.fixtures.web_process import token
from tests.fixtures.web_town import WebTown

SitDown = Callable[..., Desk]
_SHOWN = UUID("3f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b")


def _everything(town: WebTown) -> None:
    """Somebody in each state."""
    town.paused(_SHOWN)
    town.fail(town.paused())
    town.give_up(town.paused(), "mentor_mapping")
    town.give_up(town.paused(), "server_error")
    town.hold(town.paused())
    delivered = town.paused()
    town.fail(delivered)
    town.deliver(delivered)
    town.run(
        "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, requested_by, reason) VALUES"
        " (%s, 'manual_coordinator_action', 'somebody-else', 'She rang and asked')",
        _SHOWN,
    )


def _open(path: str) -> Callable[[WebTown, Page, str], None]:
    def opened(_town: WebTown, page: Page, url: str) -> None:
        page.goto(url + path)

    return opened


def _ask(_town: WebTown, page: Page, url: str) -> None:
    page.goto(url)
    page.locator("summary").first.click()
    page.locator("form.sync input[name=reason]").first.fill("She rang")
    page.locator("form.sync button").first.click()
    expect(page.locator(".answer .outcome")).to_be_visible()


def _halted(town: WebTown, page: Page, url: str) -> None:
    town.halt("auth")
    page.goto(url)
    expect(page.locator(".banner.bad").last).to_be_visible()


def _empty(town: WebTown, page: Page, url: str) -> None:
    town.clear()
    page.goto(url)
    expect(page.locator("article")).to_have_count(0)
    expect(page.locator(".none")).to_be_visible()


def _signed_out(_town: WebTown, page: Page, url: str) -> None:
    page.context.clear_cookies()
    page.goto(url)
    expect(page.locator("#sign-in")).to_be_visible()


_STATES: dict[str, Callable[[WebTown, Page, str], None]] = {
    "pending": _open("/"),
    "asking": _ask,
    "mentor": _open(f"/mentors/{_SHOWN}"),
    "requests": _open("/requests"),
    "unknown-mentor": _open("/mentors/00000000-0000-4000-8000-000000000000"),
    "wrong-search": _open("/find?mentor=nobody"),
    "halted": _halted,
    "all-delivered": _empty,
    "sign-in": _signed_out,
}


@pytest.mark.requirement("R61")
@pytest.mark.postgres
@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "nb")])
def test_axe_finds_nothing_in_any_state(
    desk: SitDown, town: WebTown, scheme: str, language: str
) -> None:
    _everything(town)
    own = desk(scheme=scheme, language=language)
    own.page.goto(f"{own.service.url}/#token={token()}")
    expect(own.page.locator("article")).to_have_count(5)
    found = {}
    for state, reach in _STATES.items():
        reach(town, own.page, own.service.url)
        found[state] = own.accessibility()
        own.picture(f"{state}-{scheme}-{language}")
    assert not any(found.values()), found


@pytest.mark.requirement("R61")
@pytest.mark.postgres
@pytest.mark.parametrize("language", ["en", "nb"])
def test_on_a_phone_of_320_pixels_nothing_is_wider_than_the_screen(
    desk: SitDown, town: WebTown, language: str
) -> None:
    _everything(town)
    own = desk(width=320, language=language)
    own.page.goto(f"{own.service.url}/#token={token()}")
    expect(own.page.locator("article")).to_have_count(5)
    wider = {}
    for state, reach in _STATES.items():
        reach(town, own.page, own.service.url)
        wider[state] = own.overflow()
        own.picture(f"{state}-320-{language}")
    assert wider == dict.fromkeys(_STATES, 0)


@pytest.mark.requirement("R61")
@pytest.mark.postgres
def test_the_whole_work_is_done_by_the_keyboard_alone(desk: SitDown, town: WebTown) -> None:
    town.paused(_SHOWN)
    own = desk()
    page = own.sign_in()
    seen = _tab_until(page, "summary")
    assert seen[0] == "Skip to the content"
    assert "Find" in seen
    assert str(_SHOWN) in seen
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("By the keyboard")
    page.keyboard.press("Enter")
    expect(own.card(_SHOWN)).to_contain_text("is taken")
    assert town.requests(_SHOWN) == 1
    expect(page.locator("form.sync input[name=reason]")).to_be_focused()
    town.deliver(_SHOWN)
    expect(own.card(_SHOWN)).to_contain_text("Dynamics has the update.")
    expect(own.card(_SHOWN)).to_be_focused()


def _tab_until(page: Page, tag: str, most: int = 40) -> list[str]:
    """What the Tab key meets on its way, each of it with a focus that is seen."""
    met: list[str] = []
    for _step in range(most):
        page.keyboard.press("Tab")
        name, text, outline = page.evaluate(
            "() => { const here = document.activeElement, style = getComputedStyle(here);"
            " return [here.tagName.toLowerCase(), here.innerText?.trim() ?? '',"
            " style.outlineStyle + style.outlineWidth]; }"
        )
        assert outline == "solid3px", f"no focus is seen at {text!r}"
        met.append(text)
        if name == tag:
            return met
    raise AssertionError(met)


@pytest.mark.postgres
def test_a_reader_of_the_screen_hears_news_and_no_dialog_ever_opens(
    desk: SitDown, town: WebTown
) -> None:
    mentor = town.mentor()
    own = desk()
    page = own.sign_in()
    page.on("dialog", lambda dialog: own.problems.append(f"a dialog: {dialog.message}"))
    count = page.get_by_role("status").filter(has_text="No visibility update is pending.")
    expect(count).to_be_visible()
    town.pause(mentor)
    expect(
        page.get_by_role("status").filter(has_text="1 visibility update is pending.")
    ).to_be_visible()
    assert page.locator("dialog, [aria-modal], [role=alert], [role=alertdialog]").count() == 0


@pytest.mark.postgres
def test_the_pictures_of_the_papers_show_the_page_as_it_is(desk: SitDown, town: WebTown) -> None:
    """docs/img/coordinators-*.png are copies of these (docs/coordinators.md)."""
    numbers = (f"{n}f2a1b4c-5d6e-4f70-8a9b-0c1d2e3f4a5b" for n in range(1, 9))
    waiting, unmapped, held = (town.paused(UUID(next(numbers))) for _mentor in range(3))
    town.fail(waiting)
    town.circuit("open")
    town.give_up(unmapped, "mentor_mapping")
    town.hold(held)
    own = desk(width=900)
    page = own.sign_in()
    expect(page.locator("article")).to_have_count(3)
    own.card(waiting).get_by_text("Sync now").first.click()
    own.card(waiting).get_by_label("Why? Others will see it.").fill(
        "She asked to be off the page today"
    )
    page.screenshot(path=own.pictures / "coordinators-pending.png")
    phone = desk(width=360, scheme="dark", language="nb")
    phone.page.goto(f"{own.service.url}/#token={token()}")
    expect(phone.page.locator("article")).to_have_count(3)
    phone.page.screenshot(path=own.pictures / "coordinators-phone.png")
    town.circuit("closed")
    town.deliver(waiting)
    page.goto(f"{own.service.url}/mentors/{waiting}")
    expect(own.card(waiting)).to_contain_text("Nothing is pending for this mentor.")
    own.picture("coordinators-mentor")


def test_the_page_needs_nothing_from_anybody_else() -> None:
    """What is served is in the package: no address of another host in it."""
    folder = Path(__file__).parents[2] / "consumer/hlf_sync/web/page"
    files = [*folder.glob("static/*"), *folder.glob("templates/*")]
    assert files
    for file in files:
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text and "//cdn" not in text, file
        assert " style=" not in text and " onclick=" not in text, file
