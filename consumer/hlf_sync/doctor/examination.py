"""Runs examinations side by side: each has one part, its checks in order, and a time after which
the part counts as dead.

An examination gives its findings one by one, so that what was found before a time-out is kept. It
raises `DependencyError` when the part does not answer and `SettingsError` when it cannot even be
asked. No exception leaves this file: a doctor that falls over helps nobody.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from hlf_sync.doctor.finding import Finding, Severity, fail, skipped
from hlf_sync.errors import DependencyError, SettingsError

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 5.0
"""What a dead part may cost. Everything that waits inside an examination waits less, so that the reason can still be told."""
ASK_S = 3.0
"""One question's time-out."""


@dataclass(frozen=True, slots=True)
class Examination:
    """`checks` are the names of the findings that `look` gives, in its order; the first says
    whether the part answers. `fix`: when it does not.

    `is_needed`: no worker starts without it (contract.md, exit code 4).
    """

    part: str
    checks: tuple[str, ...]
    look: Callable[[], AsyncIterator[Finding]]
    fix: str
    is_needed: bool = False


async def examine_all(
    examinations: Sequence[Examination], *, patience_s: float = PATIENCE_S
) -> list[tuple[Examination, list[Finding]]]:
    """All findings, one per check and in the order given."""
    asyncio.get_running_loop().set_default_executor(_Aside())
    found = await asyncio.gather(*(_examine(one, patience_s) for one in examinations))
    return list(zip(examinations, found, strict=True))


async def _examine(examination: Examination, patience_s: float) -> list[Finding]:
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(patience_s):
            async for finding in examination.look():
                findings.append(finding)  # noqa: PERF401 - what was found before a time-out is kept
    except TimeoutError:
        findings.append(_silent(examination, findings, f"no answer within {patience_s:g} s"))
    except DependencyError as error:
        findings.append(_silent(examination, findings, error.detail, error.dependency))
    except SettingsError as error:
        findings.append(fail(_next(examination, findings), str(error), "correct the setting"))
    except Exception as error:  # noqa: BLE001 - the one outermost place; whatever it is, the other parts are still examined
        findings.append(
            fail(
                _next(examination, findings),
                f"the check itself failed: {type(error).__name__}",
                "report this with --json's output",
            )
        )
    last = findings[-1]
    because = last.text if last.verdict is Severity.SKIPPED else f"because of {last.check}"
    return [*findings, *(skipped(name, because) for name in examination.checks[len(findings) :])]


def _next(examination: Examination, findings: list[Finding]) -> str:
    return examination.checks[min(len(findings), len(examination.checks) - 1)]


def _silent(
    examination: Examination, findings: list[Finding], detail: str, part: str = ""
) -> Finding:
    finding = fail(
        _next(examination, findings),
        f"{part or examination.part} does not answer ({detail})",
        examination.fix,
    )
    return Finding(
        finding.check, finding.verdict, finding.text, finding.fix, is_unreachable=not findings
    )


class _Aside(ThreadPoolExecutor):
    """A daemon thread per piece of work: one that hangs (a name lookup, a dead broker) does not
    keep the program from ending.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run it beside."""
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                    future.set_exception(error)

        threading.Thread(target=run, daemon=True, name="doctor").start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the parent's signature
        """Nothing to wait for."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


async def aside(work: Callable[[], Any]) -> Any:
    """Blocking work in a thread of its own."""
    return await asyncio.get_running_loop().run_in_executor(None, work)
