r"""Text that others wrote, made harmless: what a terminal would obey, or show in another order than
it was written, is spelt out (`\x1b`, `\u202e`). Pure.

Called at the one door to the terminal (commands/terminal) and the one to logs (telemetry/logs), and
where a foreign text becomes a part of a line of ours. Scripts (`--json`) get the text as it is.
"""


def plain(text: str, *, keeps_lines: bool = False) -> str:
    """The text with every character spelt out that is neither printable nor a space: control
    characters, escape sequences, changes of direction, invisible ones. A line break too, so that
    no text can pretend to be a line of ours, unless it `keeps_lines`.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or (keeps_lines and char == "\n") else _spelt(char)
        for char in text
    )


def _spelt(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
