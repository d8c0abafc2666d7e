"""The bill of materials of the wheel: `python -m tests.sbom` writes deploy/sbom/hlf-sync.cdx.json, which
the build puts into the wheel (`.dist-info/sboms/`, PEP 770), and so into every image.

Made of requirements/run.txt (what an image installs, locked by hash) and pyproject.toml. Licences and
edges come from the packages' own metadata, where they are installed. No time, no number by chance:
the same lock makes the same bytes.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
FILE = _ROOT / "deploy/sbom/hlf-sync.cdx.json"
_LINE = re.compile(r"^(?P<requirement>[A-Za-z0-9][^\\#]*?)\s*\\?$", re.MULTILINE)


def main() -> None:
    """Write the file."""
    FILE.write_text(render(), encoding="utf-8")


def locked() -> dict[str, Requirement]:
    """Name → what requirements/run.txt pins."""
    text = (_ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    found = (Requirement(match["requirement"]) for match in _LINE.finditer(text))
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def render() -> str:
    """The file."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = locked()
    components = {name: _component(name, pinned[name]) for name in sorted(pinned)}
    ours = Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.APPLICATION,
        bom_ref=project["name"],
        purl=PackageURL("pypi", None, project["name"], project["version"]),
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    wanted = [Requirement(text) for text in project["dependencies"]]
    extras = {canonicalize_name(one.name): one.extras for one in wanted}
    bom = Bom(components=components.values(), metadata=BomMetaData(component=ours))
    bom.register_dependency(ours, _chosen(components, wanted))
    for name, component in components.items():
        bom.register_dependency(
            component,
            _chosen(components, _needs(name, extras.get(canonicalize_name(name), set[str]()))),
        )
    # These two would differ from run to run.
    bom.serial_number = None  # type: ignore[assignment]
    bom.metadata.timestamp = None  # type: ignore[assignment]
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _component(name: str, requirement: Requirement) -> Component:
    version = next(iter(requirement.specifier)).version
    marker = [Property(name="python:marker", value=str(requirement.marker))]
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=name,
        purl=PackageURL("pypi", None, name, version),
        licenses=[LicenseFactory().make_from_string(text) for text in _licence(name)],
        properties=marker if requirement.marker else (),
    )


def _licence(name: str) -> Iterator[str]:
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return
    said = found.json
    text = str(said.get("license_expression") or said.get("license") or "")
    # Some put the whole text there.
    if text and "\n" not in text:
        yield text


def _needs(name: str, extras: Collection[str]) -> list[Requirement]:
    """What a package says that it needs, with these extras of it."""
    try:
        found = [Requirement(text) for text in requires(name) or ()]
    except PackageNotFoundError:
        return []
    asked = {f'extra == "{extra}"' for extra in extras}
    return [
        one
        for one in found
        if "extra ==" not in str(one.marker) or any(extra in str(one.marker) for extra in asked)
    ]


def _chosen(components: Mapping[str, Component], wanted: Iterable[Requirement]) -> list[Component]:
    names = {canonicalize_name(requirement.name) for requirement in wanted}
    return [component for name, component in components.items() if name in names]


if __name__ == "__main__":
    main()
