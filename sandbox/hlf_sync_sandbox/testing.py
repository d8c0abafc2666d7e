"""A pytest plugin for your own tests: PostgreSQL, Kafka and a schema registry, set up for hlf-sync.

In your conftest.py: `pytest_plugins = ["hlf_sync_sandbox.testing"]`. In a test:

    def test_mine(hlf_sync_stack):
        dsn = hlf_sync_stack.env["HLF_SYNC_POSTGRES_DSN"]

Containers where an engine of this machine answers and testcontainers is installed
(`hlf-sync-sandbox[testing]`), else the parts of the sandbox's wheels and jars. Both have the same
names, tables, roles, topics and settings. `HLF_SYNC_TEST_STACK=containers` or `wheels` chooses.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

from hlf_sync_sandbox.errors import ArgumentError
from hlf_sync_sandbox.stack import Sandbox

VARIABLE = "HLF_SYNC_TEST_STACK"
PARTS = ("postgres", "kafka", "registry")

Kind = Literal["containers", "wheels"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TestStack:
    """What runs. `env` has HLF_SYNC_POSTGRES_DSN (the sync role), SANDBOX_POSTGRES_ADMIN_DSN,
    HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS and HLF_SYNC_SCHEMA_REGISTRY_URL; `because` says why it is the
    one kind and not the other.
    """

    __test__ = False

    kind: Kind
    because: str
    env: Mapping[str, str]


@pytest.fixture(scope="session")
def hlf_sync_stack() -> Iterator[TestStack]:
    """One for the whole run, removed afterwards."""
    kind, because = chosen_kind()
    with _folder() as folder, _RUN[kind](folder) as env:
        yield TestStack(kind=kind, because=because, env=env)


def chosen_kind() -> tuple[Kind, str]:
    """Which, and why. Raises `ArgumentError` when the variable says neither."""
    asked = os.environ.get(VARIABLE, "")
    match asked:
        case "containers" | "wheels":
            return asked, f"{VARIABLE} says so"
        case "":
            pass
        case _:
            raise ArgumentError(f"{VARIABLE} is {asked}", "containers, wheels, or leave it out")
    if find_spec("testcontainers") is None:
        return "wheels", "testcontainers is not installed"
    from hlf_sync_sandbox.containers import engine_answers  # noqa: PLC0415 - an extra

    if engine_answers():
        return "containers", "a container engine answers"
    return "wheels", "no container engine of this machine answers"


@contextmanager
def _containers(folder: Path) -> Iterator[dict[str, str]]:
    from hlf_sync_sandbox.containers import running  # noqa: PLC0415 - an extra

    with running(folder) as env:
        yield env


@contextmanager
def _wheels(folder: Path) -> Iterator[dict[str, str]]:
    sandbox = Sandbox(folder)
    try:
        sandbox.up(PARTS)
        yield sandbox.env
    finally:
        sandbox.down(wipe=True)


_RUN = {"containers": _containers, "wheels": _wheels}


@contextmanager
def _folder() -> Iterator[Path]:
    """Not pytest's: PostgreSQL's account must be able to pass through it."""
    folder = Path(tempfile.mkdtemp(prefix="hlf-sync-stack-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
