"""deploy/containers/image_sbom.py, which the Dockerfile runs: what it finds in an image's folders. The
bills of real images are read in tests/containers.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
_SCRIPT = ROOT / "deploy/containers/image_sbom.py"
_LISTED = json.loads((ROOT / "deploy/sbom/hlf-sync.cdx.json").read_text(encoding="utf-8"))
_ANYIO = next(one["version"] for one in _LISTED["components"] if one["name"] == "anyio")


def _made(folder: Path, *options: str) -> dict[str, Any]:
    file = folder / "bill.cdx.json"
    command = [sys.executable, "-I", str(_SCRIPT), "an-image", "1.0", str(file), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = file.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    return found


def _purls(bill: dict[str, Any]) -> set[str]:
    return {one["purl"] for one in bill["components"]}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """What pip leaves: hlf-sync with its bill, and one that it needs."""
    folder = tmp_path / "wheels"
    ours = _installed(folder, "hlf_sync", "0.1.0")
    (ours / "sboms").mkdir()
    shutil.copy(ROOT / "deploy/sbom/hlf-sync.cdx.json", ours / "sboms")
    _installed(folder, "anyio", _ANYIO)
    return folder


def _installed(folder: Path, name: str, version: str) -> Path:
    made = folder / f"{name}-{version}.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    return made


def test_the_wheels_that_are_installed_are_listed_with_licences(
    wheels: Path, tmp_path: Path
) -> None:
    """And no others: colorama, say, is for Windows alone."""
    bill = _made(tmp_path, "--wheels", str(wheels))
    assert _purls(bill) == {"pkg:pypi/hlf-sync@0.1.0", f"pkg:pypi/anyio@{_ANYIO}"}
    assert all(one["licenses"] for one in bill["components"])
    (image,) = (one for one in bill["dependencies"] if one["ref"] == "image:an-image")
    assert image["dependsOn"]


def test_a_wheel_that_the_bill_does_not_know_ends_the_build(wheels: Path, tmp_path: Path) -> None:
    """It came in past the lock file."""
    _installed(wheels, "stowaway", "6.6")
    command = [sys.executable, str(_SCRIPT), "x", "1", str(tmp_path / "x"), "--wheels", str(wheels)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "stowaway 6.6" in done.stderr


@pytest.mark.parametrize("form", ["status", "status.d"])
def test_debians_packages_are_listed_with_the_release(tmp_path: Path, form: str) -> None:
    """Debian has one file of all; distroless one for each, beside sums of what is in it."""
    stanzas = [
        "Package: base-files\nVersion: 12.4+deb12u15\nArchitecture: amd64\n",
        "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\n",
    ]
    dpkg = tmp_path / "dpkg"
    (dpkg / "status.d").mkdir(parents=True)
    if form == "status":
        gone = "Package: gone\nStatus: purge ok not-installed\nVersion: 1\nArchitecture: all\n"
        (dpkg / form).write_text("\n".join([*stanzas, gone]))
    else:
        for name, stanza in zip(("base", "libc6"), stanzas, strict=True):
            (dpkg / "status.d" / name).write_text(stanza)
            (dpkg / "status.d" / f"{name}.md5sums").write_text("0123  usr/share/x\n")
    assert _purls(_made(tmp_path, "--debian", str(dpkg))) == {
        "pkg:deb/debian/base-files@12.4%2Bdeb12u15?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12",
    }


def test_jars_are_listed_by_mavens_name_or_else_their_own(tmp_path: Path) -> None:
    """A jar may carry others inside; its own is the one of its file's name."""
    jars = tmp_path / "jars"
    _jar(jars / "a/kafka-clients-4.3.1.jar", "org.apache.kafka/kafka-clients", "com.x/shaded")
    _jar(jars / "b/plain-2.0.jar")
    _jar(jars / "b/unversioned.jar")
    assert _purls(_made(tmp_path, "--jars", str(jars / "a"), "--jars", str(jars / "b"))) == {
        "pkg:maven/org.apache.kafka/kafka-clients@4.3.1",
        "pkg:maven/plain@2.0",
        "pkg:maven/unversioned",
    }


def _jar(path: Path, *parts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "")
        for part in reversed(parts):
            jar.writestr(f"META-INF/maven/{part}/pom.properties", "")


def test_the_same_contents_make_the_same_bytes(wheels: Path, tmp_path: Path) -> None:
    """No time, no number by chance."""
    file = tmp_path / "bill.cdx.json"
    made = []
    for _ in range(2):
        _made(tmp_path, "--wheels", str(wheels))
        made.append(file.read_bytes())
    assert made[0] == made[1]
