"""All the state of one emulator in one place: what `exchange` serves from and `steering` changes.

Made by `server` out of a state directory, by tests out of a temporary one. It starts nothing and
listens to nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from hlf_sync_sandbox.dynamics import identity as identities
from hlf_sync_sandbox.dynamics.contact_log import ContactLog
from hlf_sync_sandbox.dynamics.dataverse import Dataverse
from hlf_sync_sandbox.dynamics.faults import Script
from hlf_sync_sandbox.dynamics.holds import Holds
from hlf_sync_sandbox.dynamics.identity import Identity
from hlf_sync_sandbox.dynamics.journal import RING_SIZE, Journal
from hlf_sync_sandbox.dynamics.latency import NONE, Latency
from hlf_sync_sandbox.dynamics.outage import Outage
from hlf_sync_sandbox.dynamics.overlaps import Overlaps
from hlf_sync_sandbox.dynamics.sts import Sts
from hlf_sync_sandbox.dynamics.switches import Switches
from hlf_sync_sandbox.dynamics.throttle import Limits
from hlf_sync_sandbox.dynamics.tls import NAMES
from hlf_sync_sandbox.dynamics.tokens import Tokens

Endpoint = Literal["api", "token"]


@dataclass(slots=True)
class Emulator:
    """One organisation, its token service, and everything that can be done to them."""

    directory: Path
    identity: Identity
    tokens: Tokens
    dataverse: Dataverse
    sts: Sts
    journal: Journal
    start_limits: Limits
    script: Script = field(default_factory=Script)
    holds: Holds = field(default_factory=Holds)
    overlaps: Overlaps = field(default_factory=Overlaps)
    latency: dict[str, Latency] = field(default_factory=lambda: {"api": NONE, "token": NONE})
    outage: Outage | None = None
    random: Random = field(default_factory=Random)

    def set_addresses(self, host: str, port: int) -> None:
        """Learn under which addresses the organisation is reached: the resources that tokens are
        for.
        """
        self.sts.resources = frozenset(f"https://{name}:{port}" for name in (*NAMES, host))

    def save_identity(self) -> None:
        """Keep secrets, apps, ports and revocations over a restart."""
        identities.save(identity_path(self.directory), self.identity)

    def reset(self) -> None:
        """Back to how it started, but for contacts, secrets and the journal's file."""
        self.script.clear()
        self.holds.release()
        self.latency = {"api": NONE, "token": NONE}
        self.outage = None
        self.dataverse.switches = Switches()
        self.dataverse.throttle.set_limits(self.start_limits)
        self.dataverse.throttle.forget()

    def close(self) -> None:
        """Let go of the files."""
        self.dataverse.log.close()
        self.journal.close()


def identity_path(directory: Path) -> Path:
    """Name the file that holds ids and secrets."""
    return directory / "dynamics-identity.json"


def open_emulator(
    directory: Path,
    *,
    journal_file: bool = True,
    journal_size: int = RING_SIZE,
    limits: Limits | None = None,
) -> Emulator:
    """Make an emulator out of its state directory, or begin a new one there."""
    identity = identities.load(identity_path(directory))
    tokens = Tokens(identity)
    dataverse = Dataverse(identity, tokens, ContactLog(directory / "dynamics-contacts.log"))
    start_limits = limits or Limits()
    dataverse.throttle.set_limits(start_limits)
    journal = Journal(directory / "journal.jsonl" if journal_file else None, journal_size)
    return Emulator(
        directory, identity, tokens, dataverse, Sts(identity, tokens), journal, start_limits
    )
