"""A real Chromium before the real service on a real PostgreSQL.

Chromium is Debian's package: /usr/bin/chromium, or where HLF_SYNC_CHROMIUM says. Without one these
tests are skipped, each with a line that says so. Pictures of each state go to
HLF_SYNC_TEST_SCREENSHOTS, else to pytest's temporary folder.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.desk import Desk
from tests.chaos.proxy import Proxy
from tests.fixtures.cluster import Cluster
from tests.fixtures.web_process import WebProcess
from tests.fixtures.web_town import WebTown

CHROMIUM = Path(os.environ.get("HLF_SYNC_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. One for each file: Playwright's event loop must not be met by asyncio's tests."""
    if not CHROMIUM.exists():
        pytest.skip(
            f"no Chromium at {CHROMIUM}: apt-get install chromium, or say HLF_SYNC_CHROMIUM=…"
        )
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def wire(cluster: Cluster) -> Iterator[Proxy]:
    """The service's way to PostgreSQL, which a test may cut."""
    proxy = Proxy(cluster.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> str:
    """The file's database."""
    return cluster.fresh()


@pytest.fixture
def town(cluster: Cluster, place: str) -> Iterator[WebTown]:
    """The mentors, each test's own."""
    with WebTown(cluster.dsn(place)) as found:
        found.clear()
        yield found


@pytest.fixture(scope="module")
def service(
    wire: Proxy, place: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebProcess]:
    """The running service, one for each file: it takes a second or two to start."""
    dsn = f"host=127.0.0.1 port={wire.port} dbname={place} user=hlf_web"
    with WebProcess(dsn, tmp_path_factory.mktemp("web") / "web.log") as running:
        yield running


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get("HLF_SYNC_TEST_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def desk(browser: Browser, service: WebProcess, pictures: Path) -> Iterator[Callable[..., Desk]]:
    """Opens a coordinator's browser; whatever it complains about fails the test."""
    opened: list[Desk] = []

    def sit_down(**wishes: object) -> Desk:
        opened.append(Desk(browser, service, pictures, **wishes))  # type: ignore[arg-type]
        return opened[-1]

    yield sit_down
    for one in opened:
        one.close()
