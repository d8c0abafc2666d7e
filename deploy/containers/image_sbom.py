"""The bill of materials (CycloneDX 1.6) of an image, made by the Dockerfile of what is in these folders:

    image_sbom.py NAME VERSION FILE [--wheels DIR] [--debian DIR] [--jars DIR]…

`--wheels` is what pip installed, hlf-sync's own wheel among it, whose bill (PEP 770) knows licences and who needs whom; `--debian` is
the base image's /var/lib/dpkg; `--jars` a folder of jars, at any depth. Nothing but Python's own library, since it runs where the image
is built. No time, no number by chance: the same contents make the same bytes. Ends with 1 where a wheel is installed that the bill of
hlf-sync does not know.
"""

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]

_JAR = re.compile(r"(?P<name>.+?)-(?P<version>\d.*)$")
# Debian's number of the release is in this package's version: 12.4+deb12u15.
_RELEASE = "base-files"


def main() -> None:
    """Read the arguments, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("file", type=Path)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--debian", type=Path)
    parser.add_argument("--jars", type=Path, action="append", default=[])
    asked = parser.parse_args()
    wheels, edges = wheels_in(asked.wheels) if asked.wheels else ([], {})
    components = [*wheels, *jars_in(asked.jars)]
    components += debian_in(asked.debian) if asked.debian else []
    asked.file.parent.mkdir(parents=True, exist_ok=True)
    asked.file.write_text(bill(asked.name, asked.version, components, edges), encoding="utf-8")


def bill(
    name: str, version: str, components: Iterable[Component], edges: dict[str, list[str]]
) -> str:
    """The file's text; what no other part needs is what the image needs."""
    parts = {one["bom-ref"]: one for one in components}
    needed = {ref for needs in edges.values() for ref in needs}
    image = f"image:{name}"
    needs = {image: sorted(parts.keys() - needed), **{ref: edges.get(ref, []) for ref in parts}}
    found = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": image,
                "type": "container",
                "name": name,
                "version": version,
            }
        },
        "components": [parts[ref] for ref in sorted(parts)],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs[ref])} for ref in sorted(needs)],
    }
    return json.dumps(found, indent=1) + "\n"


def wheels_in(folder: Path) -> tuple[list[Component], dict[str, list[str]]]:
    """Every wheel that is installed here, and who of them needs whom."""
    installed = {
        re.sub(r"[-_.]+", "-", header["Name"]).lower(): header["Version"]
        for path in folder.glob("*.dist-info/METADATA")
        for header in [HeaderParser().parsestr(path.read_text(encoding="utf-8"))]
    }
    (file,) = folder.glob("hlf_sync-*.dist-info/sboms/*.cdx.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    listed = {one["name"]: one for one in (*found["components"], found["metadata"]["component"])}
    for name, version in installed.items():
        if name not in listed or listed[name]["version"] != version:
            sys.exit(f"{name} {version} is installed, and not in {file}")
    # What is for another system (colorama) is listed there and not installed here.
    edges = {
        one["ref"]: [ref for ref in one.get("dependsOn", []) if ref in installed]
        for one in found["dependencies"]
        if one["ref"] in installed
    }
    return [listed[name] for name in installed], edges


def debian_in(folder: Path) -> Iterator[Component]:
    """Debian's packages, as one file (Debian) or one each (distroless)."""
    files = (folder / "status", *folder.glob("status.d/*"))
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    stanzas = [HeaderParser().parsestr(one) for text in texts for one in text.split("\n\n")]
    packages = {
        one["Package"]: one
        for one in stanzas
        # Without a status: distroless, where a file is there because the package is.
        if one["Package"] and one["Version"] and "not-installed" not in one.get("Status", "")
    }
    if not packages:
        sys.exit(f"no package is listed in {folder}")
    release = packages[_RELEASE]["Version"].split(".")[0] if _RELEASE in packages else ""
    for name, one in packages.items():
        of = f"?arch={one['Architecture']}" + (f"&distro=debian-{release}" if release else "")
        yield _library("deb/debian", name, one["Version"], of)


def jars_in(folders: Iterable[Path]) -> Iterator[Component]:
    """Each jar under the name that Maven gave it, or its file's."""
    for path in (path for folder in folders for path in sorted(folder.rglob("*.jar"))):
        group, name, version = _maven(path)
        yield _library(f"maven/{group}".rstrip("/"), name, version)


def _maven(path: Path) -> tuple[str, str, str]:
    """Group, name, version. A jar that holds others has several such files: the one of its own name."""
    said = _JAR.fullmatch(path.stem)
    name, version = (said["name"], said["version"]) if said else (path.stem, "")
    with zipfile.ZipFile(path) as jar:
        for entry in jar.namelist():
            if entry.startswith("META-INF/maven/") and entry.endswith(f"/{name}/pom.properties"):
                return entry.split("/")[2], name, version
    return "", name, version


def _library(kind: str, name: str, version: str, of: str = "") -> Component:
    at = f"@{quote(version, safe='')}" if version else ""
    address = f"pkg:{kind}/{name}{at}{of}"
    return {
        "bom-ref": address,
        "type": "library",
        "name": name,
        "version": version,
        "purl": address,
    }


if __name__ == "__main__":
    main()
