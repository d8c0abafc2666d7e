"""What was measured of each fault, as the table of deploy/monitoring/README.md."""

from collections.abc import Mapping

from tests.alerts.scene import Figure

_HEAD = "| fault | fires after | clears, once it is mended, after |\n|---|---|---|\n"


def table(figures: Mapping[str, Figure]) -> str:
    """One row for each fault; seconds."""
    return _HEAD + "".join(
        f"| {fault} | {_fired(figure)} | {_cleared(figure)} |\n"
        for fault, figure in figures.items()
    )


def _fired(figure: Figure) -> str:
    return (
        ", ".join(f"{alert} {seconds:.0f}" for alert, seconds in figure.fired_s.items())
        or "none fired"
    )


def _cleared(figure: Figure) -> str:
    return f"{figure.cleared_s:.0f}" if figure.fired_s else "–"
