"""The sandbox's jars: lock file, where they come from, and what a download accepts."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hlf_sync_sandbox import download, jars, mirror
from hlf_sync_sandbox.cache import VARIABLE, cache_root
from hlf_sync_sandbox.errors import ArgumentError, DownloadError
from hlf_sync_sandbox.jar_lock import SECTIONS, read_listing, write_pom
from hlf_sync_sandbox.jars import Jar
from hlf_sync_sandbox.screen import Screen
from rich.console import Console

CONTENT = b"bytes of a jar"
JAR = Jar(
    "org.example", "thing", "1.0", "", "jar", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)
)
URL = "https://mirror.example.org/maven2"
QUIET = Screen(Console(quiet=True))


def right(content: bytes = CONTENT) -> httpx.Response:
    """An answer that comes as a stream, as from a network."""
    return httpx.Response(200, content=iter([content]))


def fetch(cache: Path, answer: Callable[[httpx.Request], httpx.Response]) -> None:
    """Download the one jar from a repository that answers so."""
    download.fetch([JAR], cache, QUIET, URL, transport=httpx.MockTransport(answer))


def test_the_lock_file_names_every_section_and_no_address() -> None:
    """Versions as the design has them, each file once per section, nothing of where it
    comes from.
    """
    locked = jars.load()
    assert set(locked) == {section.name for section in SECTIONS}
    assert (
        locked["debezium"][0].coordinate
        == "io.debezium:debezium-connector-postgres:3.7.0.Final:plugin:tar.gz"
    )
    assert locked["registry"][0].coordinate == "io.apicurio:apicurio-registry-app:3.3.3:all:tar.gz"
    assert {jar.version for jar in locked["kafka"] if jar.group == "org.apache.kafka"} == {"4.3.1"}
    assert not [jar for jar in locked["converter"] if jar.group == "org.apache.kafka"]
    for section in locked.values():
        assert len({jar.path for jar in section}) == len(section)
    assert "://" not in jars.LOCK_FILE.read_text(encoding="utf-8")


def test_a_line_of_the_lock_file_is_read_as_it_was_written() -> None:
    """With and without a classifier."""
    for section in jars.load().values():
        assert all(jars.read_line(jars.write_line(jar)) == jar for jar in section)


@pytest.mark.parametrize(
    "line",
    [
        "a:b:1:jar md5:00 1",
        "a:b:1:jar sha256:00 1",
        f"a:b:c:d:e:f sha256:{'0' * 64} 1",
        f"a:b:1:jar sha256:{'0' * 64}",
    ],
)
def test_a_line_that_is_none_is_refused(line: str) -> None:
    """Rather than fetching something unverified."""
    with pytest.raises(ValueError, match=r"jars\.lock|unpack"):
        jars.read_line(line)


def test_mavens_listing_becomes_coordinates_without_twins() -> None:
    """The packaging stands elsewhere in Maven's order."""
    text = (
        "The following files have been resolved:\n   a.b:c:jar:1.0:compile -- module x\n  "
        " a.b:c:tar.gz:all:2:runtime\n   a.b:c:jar:1.0:compile\n"
    )
    assert read_listing(text) == ["a.b:c:1.0:jar", "a.b:c:2:all:tar.gz"]


def test_the_project_for_maven_leaves_out_what_a_section_must_not_bring() -> None:
    """Kafka's clients in the converter's folder would hide Connect's own."""
    poms = {section.name: write_pom(section) for section in SECTIONS}
    assert (
        "<exclusion><groupId>org.apache.kafka</groupId><artifactId>*</artifactId></exclusion>"
        in poms["converter"]
    )
    assert "exclusion" not in poms["kafka"]


def test_a_right_file_appears_under_its_name(tmp_path: Path) -> None:
    """And is not asked for again."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return right()

    fetch(tmp_path, answer)
    fetch(tmp_path, answer)
    assert asked == [f"{URL}/org/example/thing/1.0/thing-1.0.jar"]
    assert (tmp_path / "maven" / JAR.path).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    """The message names the file and says what to do."""
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path, lambda _: right(b"something else"))
    assert "wrong checksum: org.example:thing:1.0:jar" in caught.value.what
    assert "--maven-mirror" in caught.value.remedy
    assert not [path for path in (tmp_path / "maven").rglob("*") if path.is_file()]


def test_a_stumbling_repository_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 503 and a broken connection, then the file."""
    monkeypatch.setattr(download, "_PAUSE_S", 0)
    asked: list[None] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(None)
        if len(asked) == 1:
            return httpx.Response(503)
        if len(asked) == 2:
            message = "reset"
            raise httpx.ReadError(message)
        return right()

    fetch(tmp_path, answer)
    assert len(asked) == 3


def test_no_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With three ways out."""
    monkeypatch.setattr(download, "_TRIES", 1)

    def answer(request: httpx.Request) -> httpx.Response:
        message = "unreachable"
        raise httpx.ConnectError(message, request=request)

    with pytest.raises(DownloadError, match=r"no network: mirror\.example\.org") as caught:
        fetch(tmp_path, answer)
    assert "HLF_SYNC_CACHE" in caught.value.remedy


def test_a_cut_file_is_fetched_again(tmp_path: Path) -> None:
    """Somebody's full disk, or an editor."""
    path = tmp_path / "maven" / JAR.path
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:3])
    fetch(tmp_path, lambda _: right())
    assert path.read_bytes() == CONTENT


def test_a_cached_file_that_was_changed_is_removed(tmp_path: Path) -> None:
    """Same length, other bytes."""
    path = tmp_path / "maven" / JAR.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(DownloadError, match="wrong checksum"):
        download.verify([JAR], tmp_path / "maven")
    assert not path.exists()


SETTINGS = """<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><servers><server><id>ours</id><username>me</username>
<password>${env.PASS}</password></server></servers><mirrors><mirror><id>other</id><mirrorOf>other</mirrorOf><url>https://o.example.org</url></mirror>
<mirror><id>ours</id><mirrorOf>*</mirrorOf><url>https://m.example.org/ours/</url></mirror></mirrors></settings>"""


def test_the_option_comes_before_the_variable_before_the_users_settings(tmp_path: Path) -> None:
    """And Maven Central last."""
    file = tmp_path / "settings.xml"
    file.write_text(SETTINGS, encoding="utf-8")
    variable = {mirror.VARIABLE: "https://v.example.org/"}
    assert mirror.choose("https://o.example.org", variable, file).url == "https://o.example.org"
    assert mirror.choose(None, variable, file).url == "https://v.example.org"
    assert mirror.choose(None, {}, file).url == "https://m.example.org/ours"
    assert mirror.choose(None, {}, tmp_path / "none").url.startswith("https://")


def test_a_mirror_of_the_users_settings_brings_its_credentials() -> None:
    """Also a password that stands in the environment."""
    found = mirror.read_settings(SETTINGS, "settings.xml", {"PASS": "word"})
    assert found
    assert (found.user, found.password) == ("me", "word")


@pytest.mark.parametrize("mirror_of", ["*,!central", "internal"])
def test_a_mirror_of_something_else_is_not_taken(mirror_of: str) -> None:
    """Central stays central."""
    assert (
        mirror.read_settings(SETTINGS.replace(">*<", f">{mirror_of}<"), "settings.xml", {}) is None
    )


@pytest.mark.parametrize("text", ["<settings>", "no xml"])
def test_settings_that_cannot_be_read_are_named(text: str) -> None:
    """Rather than silently going past the company's mirror."""
    with pytest.raises(ArgumentError, match=r"settings\.xml is not XML"):
        mirror.read_settings(text, "settings.xml", {})


def test_a_mirror_must_be_an_address() -> None:
    """A slip of the pen is exit 2, not a failed download."""
    with pytest.raises(ArgumentError, match="--maven-mirror must be"):
        mirror.choose("mirror.example.org", {})


def test_the_cache_is_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else in the user's cache folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv(VARIABLE)
    assert cache_root().name == "hlf-sync"
