"""A process that ends by a bug says where, and quotes nothing: neither a row, nor an address, nor a
secret, whoever raised.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from hlf_sync.crash import told
from hlf_sync.errors import DependencyError

from tests.fixtures.cluster import Cluster
from tests.fixtures.leaks import Search

CANARY = "Zoë.Quetzal+7f3a@example.org"

# Each raises what a library of ours raises, with the canary in its text.
_RAISES = {
    "a row that PostgreSQL quotes": (
        "psycopg.connect(os.environ['DSN'], autocommit=True).execute(\"INSERT INTO app.mentor (id,"
        " organization_code, status, email) VALUES ('6f1a1f3c-0000-4000-8000-000000000001', 'HLF',"
        ' NULL, %s)", (CANARY,))'
    ),
    "an address that PostgreSQL quotes": (
        "psycopg.connect(f'host=127.0.0.1 port=1 user={CANARY} password={CANARY} dbname={CANARY}')"
    ),
    "an input that pydantic quotes": "pydantic.TypeAdapter(int).validate_python(CANARY)",
    "an address that httpx quotes": "httpx.get(f'http://user:{CANARY}@[')",
    "an answer that httpx quotes": (
        "httpx.Response(500, request=httpx.Request('GET',"
        " f'https://org/{CANARY}')).raise_for_status()"
    ),
    "a schema that fastavro quotes": "fastavro.parse_schema({'type': CANARY})",
    "an authority that msal quotes": (
        "msal.ConfidentialClientApplication('id', authority=f'http://{CANARY}',"
        " client_credential=CANARY)"
    ),
    "a key": "{}[CANARY]",
    "a value, after another": "int(CANARY)",
    "a broken encoding": "CANARY.encode('ascii')",
    "a group": (
        "(_ for _ in ()).throw(ExceptionGroup(CANARY, [ValueError(CANARY), KeyError(CANARY)]))"
    ),
}
_PROGRAM = """
import os, sys, threading
CANARY = os.environ["CANARY"]
def fail():
    import fastavro, httpx, msal, psycopg, pydantic
    try:
        {statement}
    except Exception as error:
        raise RuntimeError(CANARY) from error
{way}
"""
_COMMAND = """
from hlf_sync import __main__
from hlf_sync.commands import app
app.app = lambda: fail()
__main__.main()
"""
_THREAD = """
from hlf_sync import crash
crash.tame()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""
_DELETED = """
from hlf_sync import crash
crash.tame()
class Kept:
    def __del__(self):
        fail()
Kept()
"""
_LOG = """
import structlog
from hlf_sync.telemetry.logs import configure
writer = configure("info")
try:
    fail()
except RuntimeError as error:
    structlog.get_logger().error("unhandled", exc_info=True)
    structlog.get_logger().error("unhandled", exc_info=error)
writer.close()
"""
_LOOP = """
import asyncio, gc
from hlf_sync import crash
crash.tame()
async def forgotten():
    fail()
async def main():
    asyncio.create_task(forgotten())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
asyncio.run(main())
"""


def _crash(statement: str, way: str, dsn: str = "") -> subprocess.CompletedProcess[bytes]:
    program = _PROGRAM.format(statement=statement, way=way)
    environ = {**os.environ, "CANARY": CANARY, "DSN": dsn, "PYTHONFAULTHANDLER": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=environ, timeout=60, check=False
    )


@pytest.mark.postgres
@pytest.mark.requirement("R45")
@pytest.mark.parametrize("what", _RAISES)
def test_a_bug_ends_the_command_with_its_types_and_places_and_no_text(
    cluster: Cluster, database: str, what: str
) -> None:
    """Each kind of exception that the libraries raise, chained below another."""
    ended = _crash(_RAISES[what], _COMMAND, cluster.dsn(database))
    assert Search([CANARY]).found(ended.stdout + ended.stderr) == []
    assert ended.returncode == 70
    assert b"a bug: RuntimeError" in ended.stderr
    assert b"<string>" in ended.stderr
    assert b"  after " in ended.stderr


@pytest.mark.requirement("R45")
@pytest.mark.parametrize(
    "way", [_THREAD, _DELETED, _LOOP], ids=["in a thread", "while it is deleted", "in the loop"]
)
def test_a_bug_that_nobody_can_catch_quotes_nothing_either(way: str) -> None:
    """Python's own hooks would print the text."""
    ended = _crash("int(CANARY)", way)
    assert Search([CANARY]).found(ended.stdout + ended.stderr) == []
    assert b"Traceback" not in ended.stderr


@pytest.mark.postgres
@pytest.mark.requirement("R45")
@pytest.mark.parametrize(
    "what",
    [
        "a row that PostgreSQL quotes",
        "an input that pydantic quotes",
        "an address that httpx quotes",
        "a group",
    ],
)
def test_a_log_line_with_an_exception_has_its_type_and_place_and_no_text(
    cluster: Cluster, database: str, what: str
) -> None:
    """As structlog renders it once a worker has set it up."""
    ended = _crash(_RAISES[what], _LOG, cluster.dsn(database))
    assert Search([CANARY]).found(ended.stdout + ended.stderr) == []
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(b'"exception":"RuntimeError at <string>:') == 2


@pytest.mark.requirement("R45")
def test_a_process_that_is_aborted_dumps_places_and_no_values() -> None:
    """faulthandler, as PYTHONFAULTHANDLER=1 switches it on."""
    ended = _crash(f"os.kill(os.getpid(), {int(signal.SIGABRT)})", _COMMAND)
    assert ended.returncode == -signal.SIGABRT
    assert b"Fatal Python error: Aborted" in ended.stderr
    assert Search([CANARY]).found(ended.stdout + ended.stderr) == []


def _raised(fail: Callable[[], object]) -> BaseException:
    try:
        fail()
    except BaseException as error:  # noqa: BLE001 - any
        return error
    raise AssertionError


def test_our_own_exceptions_say_their_text() -> None:
    """It holds to the rule of errors.py; that of their cause is left out."""

    def fail() -> None:
        try:
            int(CANARY)
        except ValueError as error:
            raise DependencyError("Kafka", "_TRANSPORT") from error

    first, *rest = told(_raised(fail))
    assert (
        first
        == "a bug: hlf_sync.errors.DependencyError: Kafka cannot be reached (no broker answers at HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS)"
    )
    assert any(line.startswith("  tests/rooms/test_crash.py:") for line in rest)
    assert Search([CANARY]).found("\n".join(rest).encode()) == []
