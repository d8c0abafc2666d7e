"""Starts parts side by side and waits until each is healthy.

Called by `hlf_sync_sandbox.stack`. One thread per part, because each waits for its own process; the
main thread only watches, so that Ctrl-C is heard at once.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from hlf_sync_sandbox.account import Account
from hlf_sync_sandbox.errors import PartError, SandboxError, StoppedError
from hlf_sync_sandbox.parts.part import Part, Site
from hlf_sync_sandbox.ports import is_free
from hlf_sync_sandbox.process import Process, exit_code, is_running, spawn, stop_all
from hlf_sync_sandbox.roster import Roster
from hlf_sync_sandbox.screen import Screen

_WATCH_S = 0.1
_MOST_PATIENCE = 5.0

# What follows once a part is healthy, in the part's own thread.
Step = Callable[[Site], None]


def bring_up(
    site: Site, parts: Sequence[Part], roster: Roster, screen: Screen, then: Mapping[str, Step]
) -> None:
    """Return when every part is healthy and its step is done. Raises the first `SandboxError`; the
    others then stop waiting.
    """
    for part in parts:
        screen.part(part.name, "waiting")
    with ThreadPoolExecutor(len(parts)) as pool:
        running = [
            pool.submit(_bring_one, site, part, roster, screen, then.get(part.name))
            for part in parts
        ]
        try:
            while not _is_over(running):
                pass
        except BaseException:
            site.stop.set()
            raise
    raise_first(running)


def _is_over(running: Sequence[Future[None]]) -> bool:
    done, left = wait(running, timeout=_WATCH_S, return_when=FIRST_EXCEPTION)
    failure = next((future.exception() for future in done if future.exception()), None)
    if failure:
        raise failure
    return not left


def raise_first(futures: Sequence[Future[None]]) -> None:
    """What went wrong first, if anything did."""
    for future in futures:
        future.result()


def _bring_one(site: Site, part: Part, roster: Roster, screen: Screen, step: Step | None) -> None:
    began = time.monotonic()
    before = roster.running().get(part.name)
    screen.part(part.name, "checking" if before else "starting")
    try:
        process = _started(site, part, roster)
        if step:
            step(site)
    except StoppedError:
        screen.part(part.name, "waiting", "given up")
    except BaseException as error:
        screen.part(
            part.name,
            "failed",
            (
                str(error).partition("\n")[0]
                if isinstance(error, SandboxError)
                else type(error).__name__
            ),
        )
        raise
    else:
        took = "as before" if process == before else f"{time.monotonic() - began:.1f} s"
        screen.part(part.name, "running", f"{took}, pid {process.pid}")


def _started(site: Site, part: Part, roster: Roster) -> Process:
    """The part's process, healthy: the one that runs, else a new one. Raises `PartError`."""
    process = roster.running().get(part.name)
    if process and _becomes_healthy(site, part, process):
        return process
    process = start_one(site, part, roster)
    if _becomes_healthy(site, part, process):
        return process
    what = f"did not become healthy within {_patience_s(part):.0f} s"
    raise PartError(part.name, what, *site.advice(part.name))


def start_one(site: Site, part: Part, roster: Roster) -> Process:
    """Start a part that does not run."""
    old = roster.running().get(part.name)
    if old:
        stop_all([(old, part.stop_signal, part.stop_deadline_s)])
    for name in part.port_names:
        if not is_free(site.ports[name]):
            what = f"port {site.ports[name]} of 127.0.0.1 is taken by another program"
            remedy = (
                f"stop that program; or `sandbox down`, delete {site.layout.ports} (new ports are"
                " chosen then), and `sandbox up`"
            )
            raise PartError(part.name, what, remedy)
    try:
        part.prepare(site, partial(_spawn, site))
        return part.start(site, partial(_spawn, site, roster=roster))
    except OSError as error:
        raise PartError(
            part.name, f"could not be started: {error}", *site.advice(part.name)
        ) from error


def _spawn(
    site: Site,
    part: str,
    command: list[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    account: Account | None = None,
    roster: Roster | None = None,
) -> Process:
    if site.stop.is_set():
        raise StoppedError
    process = spawn(
        command,
        cwd=cwd,
        environ=environ,
        log=site.layout.log(part),
        state=site.layout.root,
        account=account,
    )
    if roster:
        roster.add(part, process)
    return process


def _patience_s(part: Part) -> float:
    """A part's deadline is for a machine that is free; where each core has several processes to serve,
    it is as many times longer, five times at the most.
    """
    queue = os.getloadavg()[0] / (os.cpu_count() or 1)
    return part.deadline_s * min(max(1.0, queue), _MOST_PATIENCE)


def _becomes_healthy(site: Site, part: Part, process: Process) -> bool:
    """Wait for it. False when its deadline passes; raises `PartError` when it dies."""
    began = time.monotonic()
    while time.monotonic() < began + _patience_s(part):
        if not is_running(process):
            code = exit_code(process)
            how = (
                ""
                if code is None
                else f" by signal {-code}"
                if code < 0
                else f" with exit code {code}"
            )
            raise PartError(part.name, f"ended{how} while starting", *site.advice(part.name))
        # The last of its ports is the first question: a client that meets a closed one may be slow
        # to try again.
        if not is_free(site.ports[part.port_names[0]]) and part.is_healthy(site):
            return True
        site.pause()
    return False
