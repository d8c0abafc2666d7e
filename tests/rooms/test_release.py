"""`make release`: what is built of a commit, and that it is the same bytes each time."""

import hashlib
import json
import os
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import sbom

ROOT = Path(__file__).parents[2]
_VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
_NAMES = {
    f"hlf_sync-{_VERSION}-py3-none-any.whl",
    f"hlf_sync-{_VERSION}.tar.gz",
    f"hlf_sync_sandbox-{_VERSION}-py3-none-any.whl",
    f"hlf_sync_sandbox-{_VERSION}.tar.gz",
    "hlf-sync.cdx.json",
}
_SBOM = f"hlf_sync-{_VERSION}.dist-info/sboms/hlf-sync.cdx.json"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two, as two people would make them: other folders, other file modes, another time zone."""
    made = []
    for umask, zone in ((0o022, "UTC"), (0o077, "Asia/Tokyo")):
        folder = tmp_path_factory.mktemp("release")
        subprocess.run(
            [ROOT / ".ci/release", folder],
            check=True,
            umask=umask,
            env={**os.environ, "TZ": zone, "TMPDIR": str(tmp_path_factory.mktemp("place"))},
            capture_output=True,
        )
        made.append(folder)
    return made


def test_the_same_commit_gives_the_same_bytes(releases: list[Path]) -> None:
    """Wheels, source archives, bill of materials, checksums."""
    first, second = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in releases
    )
    assert first.keys() == _NAMES | {"SHA256SUMS"}
    assert first == second


def test_the_checksums_are_those_of_the_files(releases: list[Path]) -> None:
    """As `sha256sum --check` reads them."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=releases[0], check=False
    )
    assert done.returncode == 0
    lines = (releases[0] / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1] for line in lines} == _NAMES


def test_the_wheel_carries_its_bill_of_materials(releases: list[Path]) -> None:
    """Where PEP 770 puts it, in a form that the standard's own schema accepts."""
    with zipfile.ZipFile(releases[0] / f"hlf_sync-{_VERSION}-py3-none-any.whl") as wheel:
        text = wheel.read(_SBOM).decode()
    assert text == (releases[0] / "hlf-sync.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_source_archive_builds_the_same_wheel(releases: list[Path], tmp_path: Path) -> None:
    """Nothing that the build needs was left out."""
    with tarfile.open(releases[0] / f"hlf_sync-{_VERSION}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"hlf_sync-{_VERSION}"
    commit_s = subprocess.run(
        ["git", "show", "--no-patch", "--format=%ct"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    subprocess.run(
        [ROOT / ".venv/bin/python", "-m", "hatchling", "build", "-t", "wheel"],
        cwd=source,
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": commit_s.strip()},
    )
    name = f"hlf_sync-{_VERSION}-py3-none-any.whl"
    with (
        zipfile.ZipFile(source / "dist" / name) as ours,
        zipfile.ZipFile(releases[0] / name) as its,
    ):
        assert {one.filename: one.CRC for one in ours.infolist()} == {
            one.filename: one.CRC for one in its.infolist()
        }


def test_the_bill_of_materials_lists_what_is_locked_and_what_it_needs() -> None:
    """Else: `make lock`. Nothing of the sandbox or the tests."""
    found = json.loads(sbom.FILE.read_text(encoding="utf-8"))
    listed = {one["name"]: one["version"] for one in found["components"]}
    assert listed == {
        name: next(iter(one.specifier)).version for name, one in sbom.locked().items()
    }
    edges = {edge["ref"]: set(edge.get("dependsOn", ())) for edge in found["dependencies"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    assert edges["hlf-sync"] == wanted
    reached, left = set(), {"hlf-sync"}
    while left:
        name = left.pop()
        reached.add(name)
        left |= edges.get(name, set()) - reached
    on_windows = {"colorama"}
    assert listed.keys() - reached <= on_windows


def test_the_bill_of_materials_names_licences_and_no_address() -> None:
    """psycopg's is another one than ours (NOTICE)."""
    text = sbom.FILE.read_text(encoding="utf-8")
    components = {one["name"]: one for one in json.loads(text)["components"]}
    assert "LGPL" in json.dumps(components["psycopg"]["licenses"])
    assert "http" not in text.replace("http://cyclonedx.org/schema/", "").replace(
        "httpx", ""
    ).replace("httpcore", "").replace("aiohttp", "").replace("httptools", "")
