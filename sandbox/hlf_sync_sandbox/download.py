"""Fetches the jars of the lock file that are not in the cache yet, and verifies each by its
SHA-256.

Called by `hlf_sync_sandbox.stack` before anything starts. A file shows itself under its name only
when complete and right, so a killed run leaves nothing that a later one could trust by mistake.
Once all are there, no network is used.
"""

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx

from hlf_sync_sandbox import mirror
from hlf_sync_sandbox.cache import locked
from hlf_sync_sandbox.errors import ArgumentError, DownloadError, SandboxError, StoppedError
from hlf_sync_sandbox.jars import Jar
from hlf_sync_sandbox.screen import Screen

_TRIES = 3
_PAUSE_S = 1.0
_AT_ONCE = 6
_CHUNK = 1 << 18
_TIMEOUT_S = 30.0


def missing(jars: Iterable[Jar], repository: Path) -> list[Jar]:
    """Those that the cache has not. A file of the wrong length counts as missing: someone cut it
    short. An archive that was unpacked is not needed any more.
    """
    unique = {jar.path: jar for jar in jars}
    return [
        jar
        for jar in unique.values()
        if not _is_there(repository / jar.path, jar.size)
        and not (jar.packaging != "jar" and place_unpacked(jar, repository.parent).is_dir())
    ]


def place_unpacked(jar: Jar, cache: Path) -> Path:
    """Where an archive's content lies, once it is unpacked."""
    return cache / "unpacked" / f"{jar.artifact}-{jar.version}-{jar.sha256[:12]}"


def fetch(
    jars: Iterable[Jar],
    cache: Path,
    screen: Screen,
    option: str | None = None,
    *,
    transport: httpx.BaseTransport | None = None,
) -> None:
    """Make the cache complete. Raises `DownloadError` with the cause and what to do."""
    repository = cache / "maven"
    wanted = list(jars)
    if not missing(wanted, repository):
        return
    with (
        _disk_errors(cache),
        locked(
            cache / "download.lock",
            lambda: screen.say("another run is downloading; waiting for it"),
        ),
    ):
        absent = missing(wanted, repository)
        if absent:
            _fetch_all(absent, repository, screen, mirror.choose(option, os.environ), transport)


class _disk_errors:  # noqa: N801 - reads as a clause of `with`
    """Turn what a file system says into a sentence."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and error.errno is not None:
            raise disk_error(error, self.place) from error


def disk_error(error: OSError, place: Path) -> SandboxError:
    """What to do about a file system that refuses."""
    full = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your disk quota is used up"}
    what = full.get(error.errno or 0)
    if what:
        return DownloadError(
            f"{what}: {place}",
            "free about 600 MB there, or use another disk (HLF_SYNC_CACHE for downloads, --state"
            " for data)",
        )
    return ArgumentError(
        f"{error.filename or place}: {error.strerror or error}",
        "choose a folder that you may write to (HLF_SYNC_CACHE, --state)",
    )


@dataclass(frozen=True)
class _Transfer:
    """What all downloads of one run share."""

    client: httpx.Client
    source: mirror.Mirror
    repository: Path
    advance: Callable[[int], None]
    stop: threading.Event

    def fetch(self, jar: Jar) -> None:
        """One file, tried again when the network or the server stumbles."""
        target = self.repository / jar.path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Under the lock there is one writer: what a killed one left is overwritten.
        part = target.with_name(target.name + ".part")
        for attempt in range(1, _TRIES + 1):
            try:
                found = self._receive(jar, part)
            except httpx.HTTPError as error:
                if attempt == _TRIES or _is_final(error) or self.stop.wait(attempt * _PAUSE_S):
                    raise _refused(jar, self.source, error) from error
                continue
            if found != jar.sha256:
                part.unlink()
                raise _wrong(jar, self.source, found)
            part.replace(target)
            return

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise StoppedError

    def _receive(self, jar: Jar, part: Path) -> str:
        digest, done = hashlib.sha256(), 0
        try:
            with (
                self.client.stream("GET", f"{self.source.url}/{jar.path}") as response,
                part.open("wb") as file,
            ):
                response.raise_for_status()
                for chunk in response.iter_raw(_CHUNK):
                    self._go_on()
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    self.advance(len(chunk))
        except BaseException:
            self.advance(-done)
            part.unlink(missing_ok=True)
            raise
        return digest.hexdigest()


def _fetch_all(
    jars: list[Jar],
    repository: Path,
    screen: Screen,
    source: mirror.Mirror,
    transport: httpx.BaseTransport | None,
) -> None:
    auth = (source.user, source.password or "") if source.user else None
    stop = threading.Event()
    with (
        screen.download(
            f"{len(jars)} files from {source.origin}", sum(jar.size for jar in jars)
        ) as advance,
        httpx.Client(
            timeout=_TIMEOUT_S,
            follow_redirects=True,
            headers={"accept-encoding": "identity"},
            auth=auth,
            transport=transport,
        ) as client,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        transfer = _Transfer(client, source, repository, advance, stop)
        # The largest first, so that it does not come last and alone.
        running = [
            pool.submit(transfer.fetch, jar) for jar in sorted(jars, key=lambda jar: -jar.size)
        ]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            stop.set()
            for future in running:
                future.cancel()


def _is_final(error: httpx.HTTPError) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error


def _wrong(jar: Jar, source: mirror.Mirror, found: str) -> DownloadError:
    return DownloadError(
        f"wrong checksum: {jar.coordinate} has SHA-256 {found[:12]}…, the lock file says"
        f" {jar.sha256[:12]}…",
        f"nothing of it was kept. A proxy or mirror ({source.origin}) serves another file: try"
        " another by --maven-mirror",
    )


def _refused(jar: Jar, source: mirror.Mirror, error: httpx.HTTPError) -> DownloadError:
    host = httpx.URL(source.url).host
    if isinstance(error, httpx.HTTPStatusError):
        what = f"{jar.coordinate}: {host} answered {error.response.status_code}"
        return DownloadError(
            what, f"the repository comes from {source.origin}; name another by --maven-mirror"
        )
    return DownloadError(
        f"no network: {host} could not be reached ({type(error).__name__})",
        "go on line once (a proxy is taken from HTTPS_PROXY), name a mirror by --maven-mirror, or"
        " copy a filled cache to HLF_SYNC_CACHE",
    )


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def verify(jars: Iterable[Jar], repository: Path) -> None:
    """Check cached files once more: a disk or a person may have changed them since. Removes what is
    wrong and raises.
    """
    for jar in jars:
        path = repository / jar.path
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != jar.sha256:
            path.unlink()
            message = f"wrong checksum: the cached {jar.coordinate} was changed after its download"
            raise DownloadError(message, "it was removed; run the command again to fetch it anew")
