"""Switches tracing on, if the settings say so: the one place that imports the tracing room, and
with it OpenTelemetry. Called by the wiring.
"""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol
from urllib.parse import urlsplit

from hlf_sync.config.settings import Settings, variable
from hlf_sync.errors import SettingsError
from hlf_sync.pipeline.tracer import NoTracer, Tracer

_HTTPS = 443


class Spans(Protocol):
    """How exporting goes, in spans."""

    @property
    def exported(self) -> int:
        """Those that the collector has."""
        ...

    @property
    def lost(self) -> int:
        """Those that nobody has."""
        ...


@dataclass(frozen=True, slots=True)
class Tracing:
    """What the stages tell, how exporting goes (None while tracing is off), and how it ends."""

    tracer: Tracer
    spans: Spans | None
    ending: ExitStack

    @property
    def is_on(self) -> bool:
        """Whether anything is traced."""
        return self.spans is not None

    def close(self) -> None:
        """End what is open and send what waits, within a second."""
        self.tracer.left(lambda _mentor_id: False)
        self.ending.close()


def open_tracing(settings: Settings, worker: str) -> Tracing:
    """One that tells nobody while it is off. Raises `SettingsError` where the extra is not installed, or gRPC is
    asked for.
    """
    if settings.tracing == "off":
        return Tracing(NoTracer(), None, ExitStack())
    try:
        from hlf_sync.telemetry.tracing.export import (  # noqa: PLC0415 - costs memory and time, and may not be installed
            open_export,
        )
        from hlf_sync.telemetry.tracing.traces import Places, Traces  # noqa: PLC0415
    except ImportError as error:
        wanted = (
            f"{variable('tracing')}={settings.tracing} needs OpenTelemetry, which is not installed:"
            " pip install 'hlf-sync[tracing]'"
        )
        raise SettingsError(wanted) from error
    export = open_export(settings.otel, version=_version(), worker=worker)
    dynamics = urlsplit(settings.dynamics_base_url or "")
    places = Places(
        settings.changes_topic,
        settings.dead_letters_topic,
        settings.kafka_group_id,
        dynamics.hostname or "",
        dynamics.port or _HTTPS,
    )
    ending = ExitStack()
    ending.enter_context(closing(export))
    return Tracing(Traces(export.tracer, places), export.queue, ending)


def _version() -> str:
    try:
        return version("hlf-sync")
    except PackageNotFoundError:  # run from a folder, not installed
        return "0"
