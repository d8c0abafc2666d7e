"""The soak's picture: small frames of lines over the hours of the run, as SVG. Draws; decides
nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _GAP, _HEAD = 440, 190, 26, 60
_COLUMNS = 2
_COLOURS = ("#3366cc", "#dc7512", "#2f8f4e", "#9c4dcc")
_LEFT, _TOP, _BOTTOM = 52, 22, 34


@dataclass(frozen=True)
class Panel:
    """A title, and lines by name: values by hours."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


def picture(words: str, panels: Sequence[Panel], hours: float) -> str:
    """All of them in one drawing."""
    rows = -(-len(panels) // _COLUMNS)
    width = _COLUMNS * (_WIDTH + _GAP) + _GAP
    height = _HEAD + rows * (_HEIGHT + _GAP)
    frames = [
        f'<g transform="translate({_GAP + number % _COLUMNS * (_WIDTH + _GAP)},'
        f'{_HEAD + number // _COLUMNS * (_HEIGHT + _GAP)})">{_frame(panel, hours)}</g>'
        for number, panel in enumerate(panels)
    ]
    middle = len(words) // 2
    cut = words.rfind(" ", 0, middle + 20)
    heads = "".join(
        f'<text x="{_GAP}" y="{22 + 16 * number}" font-size="12">{escape(line.strip())}</text>'
        for number, line in enumerate((words[:cut], words[cut:]))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" fill="#222"><rect width="100%"'
        f' height="100%" fill="#fff"/>{heads}{"".join(frames)}</svg>\n'
    )


def _frame(panel: Panel, hours: float) -> str:
    most = max((value for line in panel.lines.values() for _, value in line), default=0.0) or 1.0
    most *= 1.08
    wide, high = _WIDTH - _LEFT, _HEIGHT - _TOP - _BOTTOM

    def place(at_h: float, value: float) -> str:
        x = _LEFT + wide * min(at_h / hours, 1.0)
        return f"{x:.1f},{_TOP + high * (1 - value / most):.1f}"

    parts = [f'<text x="0" y="12" font-size="12" font-weight="bold">{escape(panel.title)}</text>']
    for quarter in range(5):
        y = _TOP + high * (1 - quarter / 4)
        label = f"{most * quarter / 4:,.3g}"
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{wide}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" font-size="10" text-anchor="end">{label}</text>'
        )
    for number, (name, line) in enumerate(panel.lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(place(*point) for point in line)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
        )
        x = _LEFT + number * wide / len(panel.lines)
        parts.append(
            f'<text x="{x:.0f}" y="{_HEIGHT - 4}" font-size="9.5" fill="{colour}">'
            f"{escape(name.removeprefix('hlf_sync.'))}</text>"
        )
    parts.append(
        f'<text x="{_WIDTH}" y="{_HEIGHT - 18}" font-size="10" text-anchor="end">hour'
        f" {hours:.3g}</text>"
    )
    return "".join(parts)
