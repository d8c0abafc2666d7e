"""The one door to the terminal: whatever a command prints goes through here, so that nothing that
others wrote can steer the terminal or pose as our markup.

Reasons, names, statuses, letters' fields and other services' messages come from people and machines
whom we do not know: an escape sequence in one of them would set the window's title or the
clipboard, or erase what stands above. A test walks the package: no other Console, no other print.
"""

import json
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hlf_sync.core.plain_text import plain


class Terminal(Console):
    """A console on which texts are texts: no markup, no emoji codes, no control characters. Styles
    are given as `Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with what is to be shown made plain; the console's own control codes pass."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(plain(segment.text, keeps_lines=True), segment.style)


def echo(text: str, *, is_error: bool = False) -> None:
    """Print lines without any layout."""
    typer.echo(plain(text, keeps_lines=True), err=is_error)


def say(terminal: Terminal, answer: dict[str, object], sentence: str, *, as_json: bool) -> None:
    """One answer, for scripts or for people."""
    if as_json:
        echo_json(answer, indent=2)
    else:
        terminal.print(sentence, highlight=False)


def echo_json(content: Any, *, indent: int | None = None) -> None:
    """Print for scripts: the texts as they are, spelt in ASCII."""
    typer.echo(json.dumps(content, indent=indent))
