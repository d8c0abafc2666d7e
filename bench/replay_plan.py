"""`replay plan` over 100,000 letters on the real stack: at most 30 s and 300 MB.

    python bench/replay_plan.py [--letters 100000] [--state DIR]

Half of the mentors are dead-lettered by their letter, a quarter was delivered since, a quarter
needs a person; one in a hundred is written twice.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame import kept_or_own
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import LetterKind, MentorId, Operation, Trigger
from hlf_sync.decode.dead_letter_codec import encode, schema_text
from hlf_sync_sandbox.stack import Sandbox

_SECONDS, _MEGABYTES = 30, 300
_TOPIC = "bench-letters"


def mentor(number: int) -> MentorId:
    """A mentor of this bench."""
    return MentorId(str(UUID(int=0x6F1A1F3C_BE9C_4000_8000_000000000000 + number)))


def letter(number: int) -> DeadLetter:
    """Its letter."""
    kind = LetterKind.REJECTED if number % 4 == 3 else LetterKind.EXHAUSTED  # noqa: PLR2004 - a quarter
    code = "not_found" if kind is LetterKind.REJECTED else "server_error"
    source = Source("hlf.mentor.changes", number % 12, number, 1_700_000_000_000)
    return DeadLetter(
        f"{mentor(number)}:3", kind, code, "every attempt failed", source, 1_700_000_000_000, "a-worker-4711-0badcafe", mentor(number),
        Operation.REMOVE, 503, 3, None, Trigger.STATUS_CHANGE, None, 3,
    )  # fmt: skip


def fill_topic(stack: Sandbox, letters: int) -> None:
    """Write the letters."""
    servers = stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(_TOPIC, 12, 1)])[_TOPIC].result(10)
    url = f"{stack.env['HLF_SYNC_SCHEMA_REGISTRY_URL']}/subjects/{_TOPIC}-value/versions"
    schema_id = (
        httpx.post(url, json={"schema": schema_text()}, trust_env=False)
        .raise_for_status()
        .json()["id"]
    )
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50})
    for number in range(letters):
        value = encode(letter(number), schema_id)
        for _ in range(2 if number % 100 == 0 else 1):
            producer.produce(_TOPIC, value, mentor(number))
        producer.poll(0)
    producer.flush(60)


def fill_ledger(stack: Sandbox, letters: int) -> None:
    """What is known of the mentors. They have no facts: gone, so a removal is due."""
    with psycopg.connect(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        connection.execute(
            "CREATE TEMP TABLE n AS SELECT id::uuid, number FROM unnest(%s::text[]) WITH ORDINALITY"
            " AS t (id, number)",
            ([mentor(n) for n in range(letters)],),
        )
        connection.execute(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation,"
            " dead_letter_id) SELECT id, 'visible', CASE (number - 1) % 4 WHEN 2 THEN 'in_sync'"
            " ELSE 'dead_lettered' END, CASE (number - 1) % 4 WHEN 2 THEN 4 ELSE 3 END, CASE"
            " (number - 1) % 4 WHEN 2 THEN NULL ELSE id || ':3' END FROM n"
        )
        connection.execute("INSERT INTO hlf_sync.contact_mapping SELECT id, id FROM n")
        connection.execute("ANALYZE")


def clear(stack: Sandbox, letters: int) -> None:
    """Leave nothing behind."""
    admin = AdminClient({"bootstrap.servers": stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]})
    admin.delete_topics([_TOPIC])[_TOPIC].result(10)
    with psycopg.connect(stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], autocommit=True) as connection:
        for table in ("hlf_sync.mentor_ledger", "hlf_sync.contact_mapping"):
            statement = f"DELETE FROM {table} WHERE mentor_id BETWEEN %s AND %s"  # noqa: S608 - constants
            connection.execute(statement.encode(), (mentor(0), mentor(letters)))


def plan(stack: Sandbox, folder: Path) -> tuple[float, float, float, str]:
    """Run it: seconds, seconds of CPU, megabytes at the most, what it says."""
    environ = {**os.environ, "HLF_SYNC_DEAD_LETTERS_TOPIC": _TOPIC}
    command = [
        sys.executable,
        "-m",
        "hlf_sync",
        "replay",
        "plan",
        "--output",
        str(folder / "plan.json"),
        "--env-file",
        str(stack.layout.env_file),
    ]
    began_s = time.monotonic()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        output, _ = process.stdout.read() if process.stdout else "", None
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return (
        time.monotonic() - began_s,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        output,
    )


def main() -> None:
    """Fill, plan, compare with the limits."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--letters", type=int, default=100_000)
    options.add_argument("--state", type=Path)
    chosen = options.parse_args()
    with kept_or_own(chosen.state) as stack, tempfile.TemporaryDirectory() as folder:
        fill_topic(stack, chosen.letters)
        fill_ledger(stack, chosen.letters)
        try:
            seconds, cpu_s, megabytes, output = plan(stack, Path(folder))
        finally:
            clear(stack, chosen.letters)
    print(output)
    print(
        f"replay plan over {chosen.letters} letters: {seconds:.1f} s (limit {_SECONDS}),"
        f" {cpu_s:.1f} s of CPU"
    )
    print(f"{megabytes:.0f} MB at the most (limit {_MEGABYTES})")
    if seconds > _SECONDS:
        print(f"slower than the limit: {cpu_s / seconds:.0%} of a core was to be had")
    if cpu_s > _SECONDS or megabytes > _MEGABYTES:
        sys.exit("over the limit")


if __name__ == "__main__":
    main()
