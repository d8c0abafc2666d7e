"""What the worker shows of itself: /metrics /livez /readyz /status. Reads the stages, changes nothing.

`/livez` fails when the loop or the consumer thread is stuck, `/readyz` while partitions, a dependency or calls are missing.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from consumer.core.breaker import State
from consumer.core.model import HaltReason
from consumer.pipeline.worker import Stages
from consumer.record.metrics import Metrics
from consumer.scheduler import Scheduler
from consumer.source.consumer import KafkaSource

# A turn of the consumer thread takes 50 ms, a revocation up to ten seconds, a broker's answer at assignment ten more.
_STUCK_S = 60.0
_NOT_READY = frozenset({HaltReason.AUTH, HaltReason.DEAD_LETTER_LIMIT})


@dataclass(slots=True)
class Observed:
    """What the monitor measured last."""

    lag: dict[int, int] = field(default_factory=dict)
    group_lag: int = 0
    has_caught_up: bool = False


class Status:
    """One worker's state, for people and scrapers."""

    def __init__(
        self,
        *,
        stages: Stages,
        metrics: Metrics,
        scheduler: Scheduler,
        source: KafkaSource,
        observed: Observed,
        topic: str,
        delivery: str,
        now_ms: Any,
    ) -> None:
        self._stages = stages
        self._metrics = metrics
        self._scheduler = scheduler
        self._source = source
        self._observed = observed
        self._topic = topic
        self._delivery = delivery
        self._now_ms = now_ms

    @property
    def freshness_s(self) -> float:
        """Age of the oldest change held and not yet reflected; 0 when none."""
        oldest_ms = self._stages.queue.oldest_committed_ms()
        return 0.0 if oldest_ms is None else max(0, self._now_ms() - oldest_ms) / 1000

    def snapshot(self) -> dict[str, Any]:
        """The body of /status."""
        stages, fleet = self._stages, self._stages.gate.fleet
        circuit = fleet.circuit if fleet else None
        return {
            "verdict": self._verdict(),
            "circuit": {
                "state": circuit.state.value if circuit else State.CLOSED.value,
                "opened_at": circuit.opened_at_s if circuit else None,
                "failure_count": circuit.failure_count if circuit else 0,
                "last_error_code": circuit.last_error_code if circuit else None,
            },
            "delivery": self._delivery,
            "halted": sorted(fleet.halts) if fleet else [],
            "lag": {f"{self._topic}-{partition}": lag for partition, lag in sorted(self._observed.lag.items())},
            "freshness_s": round(self.freshness_s, 3),
            "queue": self._queue(),
            "assignment": stages.assignment.partitions,
            "leader": self._scheduler.is_leader,
            "dead_letters_open": self._scheduler.open_letters,
            "dependencies_down": sorted(stages.dependencies.down),
        }

    def missing(self) -> list[str]:
        """What keeps the worker from being ready; empty when it is."""
        fleet = self._stages.gate.fleet
        reasons = [f"{name} does not answer" for name in sorted(self._stages.dependencies.down)]
        reasons += [f"halted: {reason.value}" for reason in sorted(fleet.halts & _NOT_READY)] if fleet else ["circuit not read yet"]
        reasons += [] if self._stages.assignment.partitions else ["no partition assigned"]
        return reasons

    def is_alive(self) -> bool:
        """Whether loop and consumer thread turn; the loop does when it answers this."""
        return self._source.is_alive and asyncio.get_running_loop().time() - self._source.last_turn_s < _STUCK_S

    def page(self) -> bytes:
        """The body of /metrics."""
        metrics, stages = self._metrics, self._stages
        fleet = stages.gate.fleet
        state = fleet.circuit.state if fleet else State.CLOSED
        for name, gauge in metrics.circuit.items():
            gauge.set(name == state.value)
        for name, gauge in metrics.halted.items():
            gauge.set(fleet is not None and HaltReason(name) in fleet.halts)
        metrics.freshness.set(self.freshness_s)
        metrics.pending.set(len(stages.queue))
        metrics.paused.set(self._source.paused_count)
        metrics.show_lag(self._topic, self._observed.lag)
        metrics.show_as_leader(self._topic, self._observed.group_lag, self._scheduler)
        return metrics.page()

    def _queue(self) -> dict[str, int]:
        counts, waiting = self._stages.queue.counts(), self._stages.delivery.waiting
        return {
            "dirty": counts["dirty"],
            "in_progress": counts["in_progress"] - waiting,
            "waiting": counts["waiting"] + waiting,
        }

    def _verdict(self) -> str:
        fleet = self._stages.gate.fleet
        if fleet and fleet.halts:
            return "halted"
        if not self.is_alive():
            return "stopped"
        if self._stages.dependencies.down or (fleet and fleet.circuit.state is not State.CLOSED):
            return "stalled"
        return "lagging" if self.freshness_s > 60 else "ok"  # noqa: PLR2004 - requirement R06's figure


async def serve(status: Status, host: str, port: int) -> web.AppRunner:
    """Start the endpoint; raises OSError when the port is taken."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=status.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if status.is_alive() else web.Response(status=503, text="the consumer thread is stuck\n")

    async def readyz(_request: web.Request) -> web.Response:
        missing = status.missing()
        return web.Response(status=503, text="\n".join(missing) + "\n") if missing else web.Response(text="ok\n")

    async def show(_request: web.Request) -> web.Response:
        return web.json_response(status.snapshot())

    application = web.Application(client_max_size=1024)
    for path, answer in {"/metrics": metrics, "/livez": livez, "/readyz": readyz, "/status": show}.items():
        application.router.add_get(path, answer)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
