"""One coordinator at one browser: signs in, looks, types, and is told what the browser complains
about (a broken Content-Security-Policy, an error of the script, a request to somebody else).
"""

from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from tests.fixtures.web_process import WebProcess, token

PATIENCE_MS = 30_000
# WCAG 2.2 AA, with all that came before it.
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

expect.set_options(timeout=PATIENCE_MS)


class Desk:
    """A browser context of its own. `problems` is empty while all is well."""

    def __init__(
        self,
        browser: Browser,
        service: WebProcess,
        pictures: Path,
        *,
        subject: str = "coordinator-1",
        seconds: float = 3600,
        language: str = "en",
        scheme: str = "light",
        width: int = 1100,
        is_scripted: bool = True,
    ) -> None:
        self.service, self.pictures = service, pictures
        self._context = browser.new_context(
            locale=language,
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 800},
            java_script_enabled=is_scripted,
            timezone_id="Europe/Oslo",
        )
        self._context.set_default_timeout(PATIENCE_MS)
        self.subject, self._seconds = subject, seconds
        self.problems: list[str] = []
        self.expected: set[str] = {"Failed to load resource"}
        self.page = self.tab()

    def tab(self) -> Page:
        """One more tab."""
        page = self._context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        page.on("request", self._see)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        is_expected = any(message.text.startswith(text) for text in self.expected)
        if message.type in {"error", "warning"} and not is_expected:
            self.problems.append(f"console: {message.text}")

    def _see(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.service.url).netloc:
            self.problems.append(f"a request to somebody else: {request.url}")

    def sign_in(self) -> Page:
        """By the link that the application or the sandbox gives."""
        self.page.goto(f"{self.service.url}/#token={token(self.subject, seconds=self._seconds)}")
        expect(self.page.locator("h1")).to_have_text("Pending visibility updates")
        return self.page

    def card(self, mentor_id: UUID) -> Locator:
        """A mentor's place on the page."""
        return self.page.locator(f'article[data-mentor="{mentor_id}"]')

    def picture(self, name: str) -> None:
        """Keep what is seen."""
        self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)

    def accessibility(self) -> list[str]:
        """What axe finds wrong, one line each."""
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": _TAGS}})
        return [
            f"{rule['id']}: {rule['help']}: {node['html'][:120]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def close(self) -> None:
        """Go home; fails when the browser complained."""
        self._context.close()
        assert self.problems == []
