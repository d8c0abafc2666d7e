"""Peers beside us: the same records from the same topic to the same emulator, each peer in a
virtual environment of its own.

`bench/peers.py [--changes 2000] [--latency-ms 20]`. Prints calls per second: the bare loop, ours,
and FastStream (made on the first run, kept in the cache folder). What other peers reach, measured
elsewhere, is in the reference that bench/README.md names.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import uvloop
from bare import headers_for
from frame import Bench, bench
from throughput import measure

FASTSTREAM = ("faststream[confluent]==0.7.8", "aiohttp==3.14.5")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=2_000)
    parser.add_argument("--latency-ms", type=float, default=20)
    asked = parser.parse_args()
    python = environment("faststream", FASTSTREAM)
    with bench() as found:
        report = measure(found, asked.changes, asked.changes, asked.latency_ms)
        report["faststream_per_s"] = round(asked.changes / faststream(found, python, asked.changes))
    print(json.dumps(report, indent=2))


def environment(name: str, packages: tuple[str, ...]) -> str:
    """The peer's Python, in a virtual environment beside the other downloads."""
    cache = Path(os.environ.get("HLF_SYNC_CACHE") or Path.home() / ".cache" / "hlf-sync")
    folder = cache / "peers" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *packages,
            ],
            check=True,
        )
        (folder / "ready").touch()
    return str(python)


def faststream(found: Bench, python: str, changes: int) -> float:
    """Seconds for as many records: each is one call. The topic holds more, since mappings are
    records too.
    """
    orders = {
        "base": found.env["HLF_SYNC_DYNAMICS_BASE_URL"],
        "ca_file": found.env["HLF_SYNC_DYNAMICS_CA_FILE"],
        "headers": uvloop.run(headers_for(found.env)),
        "bootstrap_servers": found.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"],
        "topic": "hlf.mentor.changes",
        "group": "peer-faststream",
        "records": changes,
    }
    peer = Path(__file__).with_name("peer_faststream.py")
    ran = subprocess.run(
        [python, str(peer)],
        input=json.dumps(orders),
        text=True,
        capture_output=True,
        check=True,
        timeout=600,
    )
    return float(ran.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
