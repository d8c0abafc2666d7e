"""One sandbox: the real stack in one state folder. What tests, the demo and the command line use.

    sandbox = Sandbox(Path("DIR"))
    sandbox.up()                      # safe to call again: starts what does not run
    sandbox.env["HLF_SYNC_POSTGRES_DSN"]
    sandbox.kill("kafka"); sandbox.restart("kafka")
    sandbox.down(wipe=True)

Must not decide how a part is run (`hlf_sync_sandbox.parts`) nor what it holds
(`hlf_sync_sandbox.provision`).
"""

import shutil
import signal
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from hlf_sync_sandbox import (
    development_key,
    download,
    environment,
    jars,
    ports,
    postgres_files,
    process,
    provision,
)
from hlf_sync_sandbox.bringup import bring_up
from hlf_sync_sandbox.cache import cache_root, locked
from hlf_sync_sandbox.errors import ArgumentError, PartError
from hlf_sync_sandbox.layout import Layout, check_name, keep_passwords, read_env, write_env
from hlf_sync_sandbox.parts import class_archive, postgres
from hlf_sync_sandbox.parts.connect import Connect
from hlf_sync_sandbox.parts.dynamics import Dynamics
from hlf_sync_sandbox.parts.kafka import Kafka
from hlf_sync_sandbox.parts.part import Part, Site
from hlf_sync_sandbox.parts.postgres import Postgres
from hlf_sync_sandbox.parts.registry import Registry
from hlf_sync_sandbox.parts.web import Web
from hlf_sync_sandbox.roster import Roster
from hlf_sync_sandbox.screen import Screen

# In the order in which they are started when they cannot all start at once.
ALL: tuple[Part, ...] = (Kafka(), Connect(), Registry(), Postgres(), Dynamics(), Web())
PARTS = tuple(part.name for part in ALL)

_SECTIONS = {
    "kafka": ("kafka",),
    "connect": ("connect", "converter", "debezium"),
    "registry": ("registry",),
}
_STREAM = {"postgres", "kafka", "registry", "connect"}
_CONNECTOR_DEADLINE_S = 60.0
_ROLES = ("postgres", *provision.ROLES)


class Sandbox:
    """A state folder and what runs from it."""

    def __init__(
        self,
        state: Path,
        *,
        screen: Screen | None = None,
        cache: Path | None = None,
        maven_mirror: str | None = None,
    ) -> None:
        self.layout = Layout.of(state)
        self._screen = screen or Screen(quiet=True)
        self._cache = cache or cache_root()
        check_name(self.layout.root, "the state folder")
        check_name(self._cache, "the cache folder")
        self._mirror = maven_mirror

    @property
    def env(self) -> dict[str, str]:
        """What the last `up` wrote into sandbox.env."""
        return read_env(self.layout.env_file)

    @property
    def pids(self) -> dict[str, int]:
        """Part → pid of those that run now."""
        return {part: one.pid for part, one in Roster(self.layout).running().items()}

    @property
    def web_link(self) -> str | None:
        """An address that signs a coordinator in; None where no web service runs."""
        key, port = self.layout.folder("web") / "key.pem", self.ports.get("web")
        if "web" not in self.pids or port is None or not key.exists():
            return None
        return development_key.link(key, f"http://{ports.HOST}:{port}")

    @property
    def ports(self) -> dict[str, int]:
        """Name → port."""
        return ports.read(self.layout.ports)

    def up(self, parts: Collection[str] = PARTS, *, is_empty: bool = False) -> None:
        """Make these parts run, provisioned, and write sandbox.env. Raises `SandboxError`; then
        what was started here is stopped again. `is_empty`: without database, topics and connector,
        as one finds the parts before an installation.
        """
        chosen = [part for part in ALL if part.name in parts]
        if unknown := set(parts) - set(PARTS):
            message = f"no part of the sandbox: {', '.join(sorted(unknown))}"
            raise ArgumentError(message, f"there are {', '.join(sorted(PARTS))}")
        with self._exclusive():
            roster = Roster(self.layout)
            before = roster.running()
            site = self._site(chosen, before.keys())
            self._sweep(before)
            with self._undone_on_failure(roster, before), self._screen.parts():
                steps = {
                    "postgres": provision.provision_database,
                    "kafka": provision.provision_topics,
                }
                bring_up(site, chosen, roster, self._screen, {} if is_empty else steps)
                if set(parts) >= _STREAM and not is_empty:
                    self._screen.part("connector", "starting")
                    streams = provision.provision_connector(site, _CONNECTOR_DEADLINE_S)
                    self._screen.part(
                        "connector",
                        "running",
                        "" if streams else "not streaming yet: a long snapshot?",
                    )
            write_env(self.layout.env_file, environment.settings(site, parts))

    def down(self, *, wipe: bool = False) -> bool:
        """Stop every process of this sandbox, recorded or not; `wipe` forgets its data too. Says
        whether there was anything to stop.
        """
        if not self.layout.root.is_dir():
            return False
        with self._exclusive():
            roster = Roster(self.layout)
            running = roster.running()
            self._stop(roster, running, was_up=self.layout.env_file.exists())
            swept = self._sweep({})
            if wipe:
                self._wipe()
        return bool(running) or swept

    def restart(self, part: str) -> None:
        """Stop a part if it runs, start it, and wait until it is healthy. Nothing is
        provisioned.
        """
        chosen = self._part(part)
        with self._exclusive():
            roster = Roster(self.layout)
            self._stop(
                roster,
                {name: one for name, one in roster.running().items() if name == part},
                was_up=True,
            )
            self._sweep(roster.running())
            bring_up(self._site([chosen], set()), [chosen], roster, self._screen, {})

    def kill(self, part: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a part; after SIGKILL returns when it is gone. Raises `PartError` when
        it does not run.
        """
        one = Roster(self.layout).running().get(self._part(part).name)
        if one is None:
            raise PartError(part, "does not run", "start it with `sandbox up`")
        process.send(one, number)
        if number == signal.SIGKILL:
            process.wait_gone([one], 5.0)

    def _part(self, name: str) -> Part:
        for part in ALL:
            if part.name == name:
                return part
        message = f"no part of the sandbox: {name}"
        raise ArgumentError(message, f"there are {', '.join(PARTS)}")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self.layout.make()
        with locked(
            self.layout.lock,
            lambda: self._screen.say(
                f"another `up` or `down` is at work on {self.layout.root}; waiting for it"
            ),
        ):
            self.layout.make()  # again: what we waited for may have been a `down --wipe`
            yield

    def _site(self, chosen: Collection[Part], running: AbstractSet[str]) -> Site:
        locked_jars = jars.load()
        sections = [section for part in chosen for section in _SECTIONS.get(part.name, ())]
        wanted = [jar for section in sections for jar in locked_jars[section]]
        download.fetch(wanted, self._cache, self._screen, self._mirror)
        if {part.name for part in chosen} - running:
            # Archives are looked at when they are unpacked.
            download.verify(
                (jar for jar in wanted if jar.packaging == "jar"), self._cache / "maven"
            )
        return Site(
            layout=self.layout,
            cache=self._cache,
            ports=ports.keep(self.layout.ports),
            passwords=keep_passwords(self.layout.passwords, _ROLES),
            jars=locked_jars,
        )

    @contextmanager
    def _undone_on_failure(self, roster: Roster, before: Collection[str]) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._stop(
                roster,
                {name: one for name, one in roster.running().items() if name not in before},
                was_up=False,
            )
            self._sweep(roster.running())
            raise

    def _stop(self, roster: Roster, running: dict[str, process.Process], *, was_up: bool) -> None:
        # Connect first: it writes its last offsets to Kafka.
        for group in ({"connect"}, set(PARTS) - {"connect"}):
            chosen = [part for part in ALL if part.name in group and part.name in running]
            killed = process.stop_all(
                [(running[part.name], part.stop_signal, part.stop_deadline_s) for part in chosen]
            )
            for part in chosen:
                roster.remove(part.name)
                is_whole = was_up and running[part.name] not in killed
                class_archive.harvest(self.layout.folder(part.name), self._cache, is_whole=is_whole)

    def _sweep(self, kept: dict[str, process.Process]) -> bool:
        """End what nobody wrote down."""
        folders = postgres.folders(self.layout.folder("postgres"))
        found = False
        # More than once, because what is being stopped may have started something meanwhile.
        while left := process.find_left_behind(self.layout.root, folders, kept.values()):
            found = True
            process.stop_all([(one, signal.SIGTERM, 3.0) for one in left])
        return found

    def _wipe(self) -> None:
        postgres_files.remove(self.layout.folder("postgres"))
        # Only what we made: the folder may be somebody's who named the wrong one.
        for name in (*PARTS, "logs"):
            shutil.rmtree(self.layout.folder(name), ignore_errors=True)
        for path in self.layout.files():
            path.unlink(missing_ok=True)
        if not any(self.layout.root.iterdir()):
            self.layout.root.rmdir()
