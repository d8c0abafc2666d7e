r"""What the source file says to Kafka Connect, which reads it as a Java properties file: there a
backslash begins an escape, so a password like `a\b` loses it in silence. Pure; `connector apply` asks
where the file can be read from here.

Must never quote a value: one of them is the password.
"""

import re

NEEDED = ("host", "port", "dbname", "user", "password", "sslmode", "registry_url")

_LINE = re.compile(r"\s*(?P<name>[\w.]+)\s*[=:\s]\s*(?P<value>.*?)\s*$")
# What a properties file means by a backslash on purpose.
_ESCAPE = re.compile(r"\\(?:\\|[tnrf:=#! ]|u[0-9a-fA-F]{4})")


def problems(text: str) -> tuple[str, ...]:
    """What is wrong, one line each; nothing of a value in it."""
    found, names = [], set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        match = _LINE.match(line)
        if match is None:
            found.append(f"line {number} is not a name=value")
            continue
        names.add(match["name"])
        if "\\" in _ESCAPE.sub("", match["value"]):
            found.append(
                f"line {number}: {match['name']} has a single backslash, which Java takes for an"
                " escape: write it twice"
            )
    return (*found, *(f"{name} is missing" for name in NEEDED if name not in names))


def escaped(value: str) -> str:
    """The value as a properties file must have it."""
    text = value.replace("\\", "\\\\")
    return f"\\{text}" if text.startswith((" ", "\t")) else text
