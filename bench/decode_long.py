"""Whether the decoder stays as quick and as small as it began, over a hundred million changes; beside
fastavro on the same records in the same run.

    python -m bench.decode_long [--changes 100000000] [--windows 20]

The records are those that Debezium 3.7 sent (tests/fixtures/captured.json), each of them under
thousands of mentors' ids. In each window ours and fastavro take turns, in blocks of a few
milliseconds, in this thread's CPU time. Flat means: the last quarter of the windows is within 3 % of
the first, by the ratio to fastavro, which takes the machine's mood out (by our rate alone, too, on a
quiet machine); and memory grows by less than a MiB. Ends with 1 where it is not.
"""

import argparse
import base64
import io
import json
import re
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import fastavro
from hlf_sync.core.model import Position
from hlf_sync.decode.decoder import Decoder
from hlf_sync.decode.schema import SchemaCache

_CAPTURED = Path(__file__).parent.parent / "tests" / "fixtures" / "captured.json"
_TOPIC = "hlf.mentor.changes"
_MENTORS = 2_000
_BLOCK = 5_000
_HEADER = 5
_POSITION = Position(0, 0)
_DRIFT, _GROWTH_MIB = 0.03, 1.0
Recorded = tuple[bytes, bytes, int]


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--changes", type=int, default=100_000_000)
    parser.add_argument("--windows", type=int, default=20)
    asked = parser.parse_args()
    captured = json.loads(_CAPTURED.read_text(encoding="utf-8"))
    records = list(under_many_ids(captured))
    ours, theirs = our_decoder(captured), fastavros(captured)
    of_window = asked.changes // asked.windows
    in_turns(ours, theirs, records, len(records))  # learns the usual shapes
    rows = []
    print(f"{'changes':>13} {'ours/s':>10} {'fastavro/s':>10} {'ratio':>6} {'MiB':>8}")
    for window in range(1, asked.windows + 1):
        by_us, by_them = in_turns(ours, theirs, records, of_window)
        rows.append((by_us, by_us / by_them, resident_mib()))
        print(
            f"{window * of_window:13,} {by_us:10,.0f} {by_them:10,.0f} {by_us / by_them:6.2f}"
            f" {rows[-1][2]:8.2f}",
            flush=True,
        )
    report = {
        "changes": of_window * asked.windows,
        "rate_drift": drift([row[0] for row in rows]),
        "ratio_drift": drift([row[1] for row in rows]),
        "ratio": round(statistics.median(row[1] for row in rows), 2),
        "memory_growth_mib": round(rows[-1][2] - rows[0][2], 2),
    }
    print(json.dumps(report))
    if abs(report["ratio_drift"]) > _DRIFT or report["memory_growth_mib"] > _GROWTH_MIB:
        sys.exit("not flat")


def under_many_ids(captured: dict[str, Any]) -> Iterator[Recorded]:
    """Each recorded change with a key, under the ids of many mentors: the same bytes but for those
    of the id.
    """
    recorded = [
        (base64.b64decode(one["key"]), base64.b64decode(one["value"]), int(one["timestamp_ms"]))
        for one in captured["records"]
        if one["topic"] == _TOPIC and one["key"] and one["value"]
    ]
    for number in range(_MENTORS):
        for key, value, timestamp_ms in recorded:
            other = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}{key!r}")).encode()
            yield other, re.sub(re.escape(key), other, value), timestamp_ms


def our_decoder(captured: dict[str, Any]) -> Callable[[Recorded], object]:
    """As a worker has it."""
    cache = SchemaCache()
    for schema_id, text in captured["schemas"].items():
        cache.add(int(schema_id), text)
    decode = Decoder("HLF", cache, prefix="hlf", database="mentors").decode
    return lambda one: decode(one[0], one[1], _POSITION, one[2])


def fastavros(captured: dict[str, Any]) -> Callable[[Recorded], object]:
    """With its schemas parsed."""
    schemas = {
        int(schema_id).to_bytes(4, "big"): fastavro.parse_schema(json.loads(text))
        for schema_id, text in captured["schemas"].items()
    }

    def read(one: Recorded) -> object:
        value = one[1]
        return fastavro.schemaless_reader(
            io.BytesIO(value[_HEADER:]), schemas[value[1:_HEADER]], None
        )

    return read


def in_turns(
    ours: Callable[[Recorded], object],
    theirs: Callable[[Recorded], object],
    records: Sequence[Recorded],
    count: int,
) -> tuple[float, float]:
    """Records a second of this thread's CPU: `count` of ours, a tenth as many of theirs."""
    endless = cycle(records)
    our_s = their_s = 0.0
    blocks = max(1, count // _BLOCK)
    for _ in range(blocks):
        block = list(islice(endless, _BLOCK))
        our_s += cpu_s(ours, block)
        their_s += cpu_s(theirs, block[: _BLOCK // 10])
    return blocks * _BLOCK / our_s, blocks * (_BLOCK // 10) / their_s


def cpu_s(read: Callable[[Recorded], object], records: Sequence[Recorded]) -> float:
    """What reading them costs."""
    began_s = time.thread_time()
    for one in records:
        read(one)
    return time.thread_time() - began_s


def drift(values: Sequence[float]) -> float:
    """By how much the last quarter differs from the first."""
    part = max(1, len(values) // 4)
    first, last = statistics.median(values[:part]), statistics.median(values[-part:])
    return round(last / first - 1, 4)


def resident_mib() -> float:
    """This process's memory now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
