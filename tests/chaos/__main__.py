"""`python -m tests.chaos`: the long chaos run, for a person (`make chaos`).

Exit codes: 0 every invariant held; 1 one broke; 2 wrong arguments; 4 a part of the stack did not
come up; 130 Ctrl-C.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from hlf_sync_sandbox.errors import SandboxError
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.stack import Sandbox
from rich.console import Console
from rich.live import Live

from tests.chaos.progress import Progress
from tests.chaos.report import glance, report
from tests.chaos.run import Outcome, Plan, as_json, run
from tests.fixtures.seeded_bugs import BUGS

_LOOK_S = 0.5
_SAY_EVERY = 20

_EXAMPLES = """
examples:
  python -m tests.chaos --minutes 10              ten minutes of a random seed
  python -m tests.chaos --seed 4711 --minutes 2   a seed's plan again
  python -m tests.chaos --bug no_intent           the same with a bug put in: exit code 1 is the good one here
  python -m tests.chaos --state DIR               on a sandbox that you keep (`hlf-sync sandbox up --state DIR`)
"""


def main() -> int:
    """Read the arguments, run, report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=(
            "Waves of random writers and random faults on the real stack. Each ends at rest, where"
            " an auditor checks that nothing was lost, stale, or somebody else's."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help=(
            "no wave begins later than this (default 10); a wave takes about half a minute; the"
            " first with findings ends the run"
        ),
    )
    parser.add_argument(
        "--seed", type=int, help="a former run's seed (default: a fresh one, printed)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=0.8,
        metavar="SECONDS",
        help="mean time between two light faults in a storm (default 0.8)",
    )
    parser.add_argument(
        "--bug",
        choices=sorted(BUGS),
        metavar="NAME",
        help=f"put this bug into the workers, which the run has to find: {', '.join(sorted(BUGS))}",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="a sandbox to use and to leave running (default: one of its own, removed afterwards)",
    )
    parser.add_argument(
        "--artefacts",
        type=Path,
        default=Path(".chaos"),
        metavar="DIR",
        help="where a failed seed's logs and evidence are kept (default .chaos)",
    )
    parser.add_argument(
        "--lights",
        action="store_true",
        help="whoever stands wrong for longer than 30 s must be counted by the metric, all through",
    )
    parser.add_argument("--json", action="store_true", help="the report as JSON on standard output")
    chosen = parser.parse_args()
    if chosen.minutes <= 0 or chosen.every <= 0:
        parser.error("--minutes and --every must be above 0")
    plan = Plan(
        chosen.seed if chosen.seed is not None else secrets.randbelow(1_000_000),
        chosen.minutes * 60,
        chosen.every,
        chosen.bug,
        lights=chosen.lights,
    )
    console = Console(stderr=True, highlight=False)
    console.print(
        f"seed [bold]{plan.seed}[/bold]{f', with the bug {plan.bug}' if plan.bug else ''}"
    )
    sandbox = Sandbox(
        chosen.state or Path(tempfile.mkdtemp(prefix="hlf-chaos-")), screen=Screen(console)
    )
    try:
        sandbox.up()
        outcome = _watched(sandbox, plan, chosen.artefacts / str(plan.seed), console)
    finally:
        if chosen.state is None:
            sandbox.down(wipe=True)
    if chosen.json:
        sys.stdout.write(as_json(outcome) + "\n")
    report(outcome, console)
    return 0 if outcome.is_clean else 1


def _watched(sandbox: Sandbox, plan: Plan, folder: Path, console: Console) -> Outcome:
    """Run in this thread while another shows how it goes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    progress, over = Progress(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(plan, progress, over, console), daemon=True)
    watcher.start()
    try:
        outcome = run(sandbox, folder, plan, progress)
    finally:
        over.set()
        watcher.join(5)
    if outcome.is_clean:
        shutil.rmtree(folder)
    else:
        (folder / "report.json").write_text(as_json(outcome), encoding="utf-8")
        for log in (sandbox.layout.root / "logs").glob("*.log"):
            shutil.copy(log, folder / f"stack-{log.name}")
        console.print(f"logs and evidence of seed {plan.seed}: {folder}")
    return outcome


def _watch(plan: Plan, progress: Progress, over: threading.Event, console: Console) -> None:
    if not console.is_terminal:
        turn = 0
        while not over.wait(_LOOK_S):
            turn += 1
            if turn % _SAY_EVERY == 0:
                console.print(glance(plan, progress), soft_wrap=True)
        return
    with Live(glance(plan, progress), console=console, transient=True, auto_refresh=False) as live:
        while not over.wait(_LOOK_S):
            live.update(glance(plan, progress), refresh=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SandboxError as error:
        Console(stderr=True).print(f"{error}")
        sys.exit(4)
    except KeyboardInterrupt:
        Console(stderr=True).print("stopped; its workers are gone")
        sys.exit(130)
