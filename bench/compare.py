"""This build beside an older one, in turn in one run: what a delivered change costs the worker and
PostgreSQL, how many are delivered per second, and how fresh an idle system is.

    git worktree add --detach /tmp/older COMMIT
    bench/compare.py /tmp/older [--rounds 3] [--changes 20000] [--latency-ms 20] [--freshness 300]

Each turn starts a sandbox of that build and runs that build's own bench/throughput.py and
bench/freshness.py in it. CPU is counted from the first call to the last, of the worker and of
PostgreSQL with all its processes but for the bench's own connection; the ratios are of medians.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent.parent


def main() -> None:
    """Measure and print; with `--turn`, one build's turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="a worktree of the older build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--freshness", type=int, default=0, help="changes for it; 0: not measured")
    parser.add_argument("--turn", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turn:
        print(json.dumps(turn(asked)))
        return
    found: dict[str, list[dict[str, float]]] = {"older": [], "this": []}
    for number in range(asked.rounds):
        turns = [("older", asked.other.resolve()), ("this", HERE)]
        for name, tree in turns if number % 2 == 0 else turns[::-1]:
            found[name].append(run(tree))
            print(name, json.dumps(found[name][-1]), file=sys.stderr)
    print(table(found["older"], found["this"]))


def run(tree: Path) -> dict[str, float]:
    """One turn, in a process of its own that imports that build and no other."""
    paths = [
        tree,
        tree / "bench",
        *(path for path in (tree / "consumer", tree / "sandbox") if _is_root(path)),
    ]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--turn"]
    ended = subprocess.run(command, cwd=tree, env=environ, stdout=subprocess.PIPE, check=True)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def _is_root(path: Path) -> bool:
    """Whether packages lie in it, rather than it being one."""
    return path.is_dir() and not (path / "__init__.py").exists()


def turn(asked: argparse.Namespace) -> dict[str, float]:
    """The build that PYTHONPATH names: its own benches, with a meter beside."""
    bench = importlib.import_module("frame").bench
    throughput = importlib.import_module("throughput")
    report: dict[str, float] = {}
    with bench() as found, Watched(found, throughput, "cpu_s") as watched:
        said = throughput.measure(found, asked.changes, asked.changes, asked.latency_ms)
        report |= {"per_s": said["ours_per_s"], "bare_per_s": said["bare_per_s"]}
        report |= watched.per(asked.changes)
    if asked.freshness:
        freshness = importlib.import_module("freshness")
        with bench() as found, Watched(found, freshness, "change") as watched:
            said = freshness.measure(found, asked.freshness)
            report |= {
                f"fresh_{name}": said["request_ms"][name] - said["floor_ms"][name]
                for name in ("p50", "p99")
            }
            costs = watched.per(asked.freshness)
            report |= {f"fresh_{name}": value for name, value in costs.items()}
    return report


class Watched:
    """A bench whose function `name` marks where to count: `cpu_s` is called at both ends,
    `change` lasts from the one to the other.
    """

    def __init__(self, found: Any, module: Any, name: str) -> None:
        from cost import Meter  # noqa: PLC0415 - from beside this file, whatever build is imported

        self._module, self._name, self._pids = module, name, list[int]()
        self._meter = Meter(found.env["SANDBOX_POSTGRES_ADMIN_DSN"], found.connection)
        self._seen: list[Any] = []

    def __enter__(self) -> Self:
        original, workers = getattr(self._module, self._name), self._module.workers

        def marked(*arguments: Any) -> Any:
            self._mark()
            result = original(*arguments)
            self._mark()
            return result

        def started(*arguments: Any, **options: Any) -> Any:
            return _Noting(workers(*arguments, **options), self._pids)

        self._module.workers = started
        setattr(self._module, self._name, marked)
        return self

    def __exit__(self, *_: object) -> None:
        self._meter.close()

    def _mark(self) -> None:
        self._seen.append(self._meter.look(self._pids))

    def per(self, changes: int) -> dict[str, float]:
        """Per change, CPU in microseconds."""
        used = self._seen[-1] - self._seen[0]
        return {
            "worker_us": used.worker_s / changes * 1e6,
            "postgres_us": used.postgres_s / changes * 1e6,
            "commits": used.commits / changes,
        }


class _Noting:
    """Workers whose process ids are noted."""

    def __init__(self, workers: Any, pids: list[int]) -> None:
        self._workers, self._pids = workers, pids

    def __enter__(self) -> Any:
        started = self._workers.__enter__()
        self._pids[:] = [worker.pid for worker in started]
        return started

    def __exit__(self, *error: object) -> Any:
        return self._workers.__exit__(*error)


def table(older: list[dict[str, float]], this: list[dict[str, float]]) -> str:
    """Medians and their ratio, a line each; with the load of the machine."""
    lines = [f"{'':22} {'older':>10} {'this':>10} {'ratio':>7}   all rounds, older | this"]
    for name in older[0]:
        before, now = _values(older, name), _values(this, name)
        middle = statistics.median(before), statistics.median(now)
        ratio = middle[1] / middle[0] if middle[0] else float("nan")
        rounds = f"{_said(before)} | {_said(now)}"
        lines.append(f"{name:22} {middle[0]:10.2f} {middle[1]:10.2f} {ratio:7.3f}   {rounds}")
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join([*lines, f"load {load} on {os.cpu_count()} cores"])


def _values(rounds: list[dict[str, float]], name: str) -> list[float]:
    return [found[name] for found in rounds]


def _said(values: list[float] | Mapping[str, float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


if __name__ == "__main__":
    main()
