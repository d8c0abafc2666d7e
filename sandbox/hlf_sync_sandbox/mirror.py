"""From which Maven repository jars come: an option, an environment variable, the user's Maven
settings, or Maven Central.

Called by `hlf_sync_sandbox.download`. Writes no address anywhere: Maven Central's comes from the
jgo package.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from hlf_sync_sandbox.errors import ArgumentError

VARIABLE = "SANDBOX_MAVEN_MIRROR"


@dataclass(frozen=True)
class Mirror:
    """A repository's root, who named it, and what it asks for."""

    url: str
    origin: str
    user: str | None = None
    password: str | None = None


def choose(
    option: str | None, environ: Mapping[str, str], settings_file: Path | None = None
) -> Mirror:
    """The first of: `--maven-mirror`, `SANDBOX_MAVEN_MIRROR`, a mirror of central in
    ~/.m2/settings.xml, Maven Central.
    """
    for url, origin in ((option, "--maven-mirror"), (environ.get(VARIABLE), VARIABLE)):
        if url:
            return Mirror(_checked(url, origin), origin)
    path = settings_file or Path.home() / ".m2" / "settings.xml"
    found = (
        read_settings(path.read_text(encoding="utf-8"), str(path), environ)
        if path.is_file()
        else None
    )
    return found or Mirror(_central(), "the default, Maven Central")


def read_settings(text: str, origin: str, environ: Mapping[str, str]) -> Mirror | None:
    """The mirror that a Maven settings file names for central, with its server's user and
    password.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - the user's own file
    except ET.ParseError as error:
        message = f"{origin} is not XML (line {error.position[0]})"
        raise ArgumentError(message, "repair it, or name a mirror by --maven-mirror") from error
    for mirror in _children(root, "mirrors"):
        fields = _fields(mirror, environ)
        if _is_of_central(fields.get("mirrorOf", "")) and fields.get("url"):
            servers = (_fields(server, environ) for server in _children(root, "servers"))
            server = next((one for one in servers if one.get("id") == fields.get("id")), {})
            return Mirror(
                _checked(fields["url"], origin),
                origin,
                server.get("username"),
                server.get("password"),
            )
    return None


def _is_of_central(mirror_of: str) -> bool:
    names = {name.strip() for name in mirror_of.split(",")}
    return "!central" not in names and bool(names & {"*", "central", "external:*"})


def _children(root: ET.Element, name: str) -> list[ET.Element]:
    # Maven accepts the file with and without its namespace.
    return [child for element in root if _local(element) == name for child in element]


def _fields(element: ET.Element, environ: Mapping[str, str]) -> dict[str, str]:
    fields = {_local(child): (child.text or "").strip() for child in element}
    return {name: _expand(value, environ) for name, value in fields.items()}


def _expand(value: str, environ: Mapping[str, str]) -> str:
    if value.startswith("${env.") and value.endswith("}"):
        return environ.get(value[6:-1], "")
    return value


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _checked(url: str, origin: str) -> str:
    if not url.startswith(("https://", "http://")):
        message = f"{origin} must be an http:// or https:// address of a Maven repository"
        raise ArgumentError(message, "example: --maven-mirror https://mirror.example.org/maven2")
    return url.rstrip("/")


def _central() -> str:
    from jgo.constants import (  # noqa: PLC0415 - half a second, needed only when something is downloaded
        MAVEN_CENTRAL_URL,
    )

    return str(MAVEN_CENTRAL_URL)
