"""Tracing's switch: off it costs nothing, on without the extra it says what to install, and a
collector that fails stops nobody.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hlf_sync.config.loading import load
from hlf_sync.config.settings import Settings
from hlf_sync.core.model import LedgerRow, MentorId, NoCall, Record
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.consumer_session import _traced_record
from hlf_sync.telemetry.tracing.export import Export, open_export
from hlf_sync.telemetry.tracing.traces import Traces
from hlf_sync.telemetry.tracing_switch import open_tracing
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.fakes.evaluations import looked_at
from tests.fakes.spans import PLACES
from tests.fixtures.log_lines import LogLines, captured

SOMEONE = MentorId("6f1a1f3c-0000-4000-8000-000000000001")
WORKER_SETTINGS = {
    "HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "HLF_SYNC_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
    "HLF_SYNC_POSTGRES_DSN": "host=127.0.0.1 port=1",
    "HLF_SYNC_DYNAMICS_BASE_URL": "https://127.0.0.1",
    "HLF_SYNC_DELIVERY": "shadow",
    "HLF_SYNC_STARTUP_DEADLINE_S": "0.1",
}


class Collector(SpanExporter):
    """Answers as told; `takes` may be replaced while it is in use."""

    def __init__(self, takes: Callable[[], bool]) -> None:
        self.takes = takes
        self.is_ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self.takes() else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.is_ended = True


@pytest.fixture
def said() -> Iterator[LogLines]:
    """Logging into memory."""
    yield from captured()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def until(is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def spans(export: Export, count: int) -> None:
    for _ in range(count):
        export.tracer.start_span("look").end()


def run(program: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HLF_SYNC_", "OTEL_"))
    }
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_off_imports_nothing_of_it() -> None:
    """Off is the default, whatever OTEL_ variables a platform puts into every container."""
    found = run(
        "import sys\nimport hlf_sync.worker.wiring, hlf_sync.commands.app\nfrom"
        " hlf_sync.config.loading import load\nfrom hlf_sync.telemetry.tracing_switch import"
        " open_tracing\nassert not open_tracing(load(), 'worker-1').is_on\nprint([name for name in"
        " sys.modules if name.startswith(('opentelemetry', 'hlf_sync.tracing.',"
        " 'google.protobuf'))])",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
    )
    assert (found.stdout, found.stderr) == ("[]\n", "")


def test_on_without_the_extra_is_exit_2_and_the_command_that_installs_it() -> None:
    """Before anything is connected to."""
    program = (
        "import sys\nsys.modules['opentelemetry'] = None\nsys.argv = ['hlf-sync', 'run']\nfrom"
        " hlf_sync.__main__ import main\nmain()"
    )
    found = run(program, **WORKER_SETTINGS, HLF_SYNC_TRACING="otlp")
    assert found.returncode == 2
    wanted = (
        "HLF_SYNC_TRACING=otlp needs OpenTelemetry, which is not installed: pip install"
        " 'hlf-sync[tracing]'"
    )
    assert wanted in found.stderr
    assert "Traceback" not in found.stderr


def test_the_env_file_speaks_to_opentelemetry_too_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file for all of a worker's settings."""
    file = tmp_path / "worker.env"
    file.write_text(
        "HLF_SYNC_TRACING='OTLP'\nOTEL_SERVICE_NAME='of the"
        " file'\nOTEL_TRACES_SAMPLER='always_off'\n",
        encoding="utf-8",
    )
    settings = load(file, {"OTEL_SERVICE_NAME": "of the environment"})
    assert settings.tracing == "otlp"
    assert settings.otel == {
        "OTEL_SERVICE_NAME": "of the environment",
        "OTEL_TRACES_SAMPLER": "always_off",
    }
    monkeypatch.setenv(
        "OTEL_SERVICE_NAME", "set"
    )  # so that monkeypatch takes away what is set by default below
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "")
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    tracing = open_tracing(settings, "worker-1")
    assert tracing.is_on
    tracing.close()
    assert (os.environ["OTEL_SERVICE_NAME"], os.environ.pop("OTEL_TRACES_SAMPLER")) == (
        "set",
        "always_off",
    )


def test_grpc_is_refused_rather_than_spoken_to_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would need another package; whatever else the variables say, OpenTelemetry copes with by
    itself.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="is grpc: hlf-sync speaks http/protobuf only"):
        open_export({}, version="1", worker="worker-1")


def test_any_other_word_is_refused() -> None:
    """Rather than taken for off."""
    with pytest.raises(SettingsError, match="HLF_SYNC_TRACING"):
        load(environ={"HLF_SYNC_TRACING": "jaeger"})
    assert Settings().tracing == "off"


def test_a_collector_that_hangs_costs_spans_and_no_time() -> None:
    """The queue is bounded, what finds no room is counted, and the end waits for a
    second at most.
    """
    release = threading.Event()
    collector = Collector(lambda: release.wait(30))
    export = Export(collector, version="1", worker="worker-1", room=16, schedule_delay_millis=5)
    begun_s = time.monotonic()
    spans(export, 1_000)
    assert export.queue.lost == 1_000 - 16
    export.close()
    assert time.monotonic() - begun_s < 5
    assert export.queue.exported == 0
    release.set()


def test_a_failing_collector_is_said_once_and_its_recovery_once(said: LogLines) -> None:
    """However many batches it did not take."""
    answers = iter([False, False, True, True, False])
    export = Export(
        Collector(lambda: next(answers)), version="1", worker="worker-1", schedule_delay_millis=5
    )
    for number in range(1, 6):
        spans(export, 1)
        until(lambda number=number: export.queue.exported + export.queue.lost == number)  # type: ignore[misc]
    export.close()
    assert (export.queue.exported, export.queue.lost) == (2, 3)
    assert [(line["event"], line["level"]) for line in said.wait(3)] == [
        ("spans_lost", "warning"),
        ("spans_exported_again", "info"),
        ("spans_lost", "warning"),
    ]


def test_a_sender_that_raises_is_a_failure_like_any_other(said: LogLines) -> None:
    """Told by its type, never by its text."""

    def explode() -> bool:
        raise RuntimeError("http://user:hunter2@collector")

    export = Export(Collector(explode), version="1", worker="worker-1", schedule_delay_millis=5)
    spans(export, 1)
    until(lambda: export.queue.lost)
    export.close()
    assert [line.get("detail") for line in said.wait()] == ["RuntimeError"]


class _Proxy(BaseHTTPRequestHandler):
    """Answers with the server's `answer`: status and body."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(code)
        self.send_header("Location", "https://collector/v1/traces?key=hunter2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _partial(rejected: int) -> bytes:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = "attribute too long"
    return bytes(answer.SerializeToString())


@pytest.mark.parametrize(
    ("code", "body", "is_lost"),
    [
        (200, b"", False),
        (200, _partial(0), False),
        (202, b"<html>a proxy's page</html>", False),
        (200, _partial(2), True),
        (301, b"", True),
        (308, b"", True),
        (400, b"", True),
    ],
)
def test_spans_count_as_exported_only_where_the_collector_took_them(
    code: int, body: bytes, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenTelemetry itself says success to a redirect and to a rejection
    (findings/a_redirect_counts_as_exported.sh).
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
    server.answer = (code, body)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
        export = open_export({}, version="1", worker="worker-1")
        spans(export, 2)
        until(lambda: export.queue.exported + export.queue.lost == 2)
        assert (export.queue.exported, export.queue.lost) == ((0, 2) if is_lost else (2, 0))
        export.close()
    finally:
        server.shutdown()
        server.server_close()


def test_closing_sends_what_waits() -> None:
    """The last spans of a worker are the ones somebody looks for."""
    memory = InMemorySpanExporter()
    export = Export(memory, version="1", worker="worker-1", schedule_delay_millis=60_000)
    spans(export, 3)
    export.close()
    assert (export.queue.exported, export.queue.lost) == (3, 0)
    named = memory.get_finished_spans()[0].resource.attributes
    assert (named["service.name"], named["service.instance.id"]) == ("hlf-sync", "worker-1")


def test_a_fault_in_telling_stops_nobody(said: LogLines) -> None:
    """It is said once; the mentor's work goes on."""

    class Broken:
        def start_span(self, *_: object, **__: object) -> None:
            raise ValueError("of OpenTelemetry")

    traces = Traces(Broken(), PLACES)  # type: ignore[arg-type]
    for _ in range(3):
        evaluation = looked_at(SOMEONE, LedgerRow())
        evaluation.decision = NoCall("gone")
        traces.looked(evaluation, 0)
    traces.ended(SOMEONE, "no_call")
    assert [line["event"] for line in said.wait()] == ["tracing_failed"]


class Message:
    """As confluent_kafka gives it."""

    def __init__(self, headers: list[tuple[str, str | bytes | None]] | None) -> None:
        self._headers = headers

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return self._headers

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (None, None),
        ([], None),
        ([("other", b"x")], None),
        ([("traceparent", b"00-a")], "00-a"),
        ([("traceparent", None)], None),
        ([("traceparent", b"\xff")], "\ufffd"),
    ],
)
def test_the_source_reads_the_traceparent_of_a_record(
    headers: list[tuple[str, str | bytes | None]] | None, found: str | None
) -> None:
    """Whoever wrote the record may have written anything there."""
    assert _traced_record(Message(headers)) == Record(3, 7, b"k", b"v", 1_700_000_000_000, found)  # type: ignore[arg-type]
