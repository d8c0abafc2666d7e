"""One look at each worker: its /status and /metrics, or why they could not be had. The only place
of `top` that acts.

Called by the command line, once per turn. Workers are asked at the same time, so that one that
hangs does not hold up the others' picture.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from hlf_sync.config.settings import Settings
from hlf_sync.core import cause_words
from hlf_sync.core.fleet_verdict import POSTGRESQL
from hlf_sync.errors import SettingsError
from hlf_sync.http.asking import TOO_LARGE, Asker, Limits, NoAnswerError
from hlf_sync.postgres.workers import KnownWorker
from hlf_sync.top.exposition import Page, parse

# A worker answers from memory; who takes longer is stuck, or far away.
_TIMEOUT_S = 3.0
_MOST_WORKERS = 64
# Far more than a /metrics page has.
_LIMITS = Limits(timeout_s=_TIMEOUT_S, within_s=2 * _TIMEOUT_S, max_bytes=16 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """How a worker of the settings' fleet is told from another installation's, which may listen where
    ours did. `names` are those that have registered; None where PostgreSQL could not be asked.
    """

    organization: str
    group_id: str
    names: frozenset[str] | None

    @classmethod
    def of(cls, settings: Settings, known: "Registered") -> Self:
        """Of these settings."""
        return cls(
            organization=settings.organization,
            group_id=settings.kafka_group_id,
            names=known.names,
        )

    def stranger(
        self, worker: str | None, organization: str | None, group_id: str | None
    ) -> str | None:
        """Whose worker it is instead, as what is said of its address; None for one of ours. What an older worker does
        not say of itself speaks not against it.
        """
        if organization is not None and organization != self.organization:
            return f"is another fleet's worker: its organisation is {organization!r}"
        if group_id is not None and group_id != self.group_id:
            return f"is another fleet's worker: its consumer group is {group_id!r}"
        if worker is not None and self.names is not None and worker not in self.names:
            return f"is another fleet's worker: {worker} has not registered in our database"
        return None


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SaidCircuit(_Said):
    """The fleet's circuit, as one worker last read it. `opened_at` is epoch seconds."""

    state: Literal["closed", "open", "half_open"]
    opened_at: float | None = None
    failure_count: int = 0
    last_error_code: str | None = None
    open_s: float | None = None
    next_probe_s: float | None = None


class SaidQueue(_Said):
    """A worker's mentors."""

    dirty: int
    in_progress: int
    waiting: int


class SaidWorker(_Said):
    """One of those that have registered, as another one has read it."""

    name: str
    address: str


class Said(_Said):
    """The body of /status. What a newer worker says besides is left alone."""

    verdict: str
    circuit: SaidCircuit
    delivery: str
    halted: list[str]
    lag: dict[str, int]
    freshness_s: float
    queue: SaidQueue
    assignment: list[int]
    leader: bool
    dead_letters_open: int
    dependencies_down: list[str] = []
    dependencies_down_s: dict[str, float] = {}
    workers: list[SaidWorker] | None = None
    worker: str | None = None
    organization: str | None = None
    group_id: str | None = None
    listing_age_s: float | None = None

    @property
    def is_blind(self) -> bool:
        """Whether what it says of circuit, halts and letters is of before: PostgreSQL tells it."""
        return POSTGRESQL in self.dependencies_down


@dataclass(frozen=True, slots=True)
class Look:
    """What one worker said at `at_s` (monotonic); `trouble` says why it said nothing."""

    address: str
    at_s: float = math.nan
    said: Said | None = None
    page: Page = field(default_factory=Page)
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """Where to look for the workers that have registered. `unreachable`: the names of those that
    listen on the loopback address of another host, which from here would be another worker, or none.
    `names` is None where PostgreSQL could not be asked.
    """

    addresses: Sequence[str] = ()
    unreachable: Sequence[str] = ()
    names: frozenset[str] | None = None


def reachable(workers: Iterable[KnownWorker | SaidWorker], here: str) -> Registered:
    """Whom of them can be asked from the host `here`. A worker's name begins with its host's
    (worker/wiring).
    """
    found, away, names = dict[str, None](), dict[str, None](), set[str]()
    for one in workers:
        names.add(one.name)
        host = one.name.rsplit("-", 2)[0]
        if host != here and _is_loopback(one.address):
            away[one.name] = None
        else:
            found[one.address] = None
    return Registered(tuple(found), tuple(away), frozenset(names))


def followed(before: Registered, looks: Iterable[Look], here: str) -> Registered:
    """Where to look next: who has come or gone since, the workers themselves say, also while
    PostgreSQL is away. Until one of them does, `before` stands.
    """
    answered = {look.address: look.said for look in looks if look.said is not None}
    knowing = [said for said in answered.values() if not said.is_blind] or answered.values()
    told = [one for said in knowing for one in said.workers or ()]
    if not told:
        return before
    found = reachable(told, here)
    return replace(found, addresses=tuple(dict.fromkeys([*found.addresses, *answered])))


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def addresses_of(given: Sequence[str], settings: Settings) -> list[str]:
    """The workers' roots: those that were given, else the one of the settings. Raises
    `SettingsError`.
    """
    if given:
        return list(dict.fromkeys(_root(text) for text in given))
    if settings.http_port == 0:
        message = (
            "HLF_SYNC_HTTP_PORT=0 lets each worker choose a port: say where they listen, for"
            " example --worker 127.0.0.1:8080"
        )
        raise SettingsError(message)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http_host, settings.http_host)  # noqa: S104 - a listener's word for everywhere
    return [f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"]


def _root(text: str) -> str:
    """`8080`, `host:8080` or `http://host:8080` as a root address."""
    full = f"127.0.0.1:{text}" if text.isdecimal() else text
    full = full if "://" in full else f"http://{full}"
    try:
        parts = urlsplit(full)
        is_address = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        is_address = False
    if not is_address or "@" in full:
        message = (
            f"--worker {text!r} is not an address of a worker (example: --worker 127.0.0.1:8080)"
        )
        raise SettingsError(message)
    return full.rstrip("/")


class Looker:
    """Asks workers over connections that it keeps."""

    def __init__(self, asker: Asker, threads: ThreadPoolExecutor) -> None:
        self._asker = asker
        self._threads = threads

    def look(self, addresses: Sequence[str], now_s: float, kin: Kin | None = None) -> list[Look]:
        """Ask each of them now, in this order. `kin`: whom it takes for ours; None: everybody."""
        return list(
            self._threads.map(lambda address: self._look_at(address, now_s, kin), addresses)
        )

    def _look_at(self, address: str, now_s: float, kin: Kin | None) -> Look:
        try:
            said = Said.model_validate_json(self._body(f"{address}/status"))
            if kin and (stranger := kin.stranger(said.worker, said.organization, said.group_id)):
                return Look(address, now_s, trouble=stranger)
            return Look(address, now_s, said, parse(self._body(f"{address}/metrics").decode()))
        except _StatusError as error:
            return Look(address, now_s, trouble=f"answers {error.status}: is that a worker?")
        except NoAnswerError as error:
            return Look(
                address,
                now_s,
                trouble=_TROUBLES.get(error.reason, cause_words.in_words(error.reason)),
            )
        except (ValidationError, ValueError):
            return Look(address, now_s, trouble=_NOT_A_WORKER)

    def _body(self, address: str) -> bytes:
        answer = self._asker.ask("GET", address)
        if not answer.is_ok:
            raise _StatusError(answer.status)
        return answer.body


class _StatusError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_NOT_A_WORKER = "answers, but is not a worker of hlf-sync"
_TROUBLES = {
    "ConnectError": "refuses connections: is it running?",
    "ConnectTimeout": "does not answer: is it running?",
    "ReadTimeout": "accepts and says nothing: is it stuck?",
    "RemoteProtocolError": _NOT_A_WORKER,
    TOO_LARGE: _NOT_A_WORKER,
}


@contextmanager
def looker() -> Iterator[Looker]:
    """A `Looker`, closed afterwards."""
    with (
        Asker(_LIMITS, accept="*/*") as asker,
        ThreadPoolExecutor(_MOST_WORKERS, thread_name_prefix="look") as threads,
    ):
        yield Looker(asker, threads)
