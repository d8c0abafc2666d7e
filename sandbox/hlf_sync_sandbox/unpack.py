"""Unpacks archives of the cache and lays out Connect's plug-in folder, once per version.

Called by `hlf_sync_sandbox.stack` after the download. Each folder appears by one rename, so half of
one is never used.
"""

import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from hlf_sync_sandbox.cache import locked
from hlf_sync_sandbox.download import disk_error, place_unpacked, verify
from hlf_sync_sandbox.jars import Jar

AVRO_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"

# Grows when what is laid out changes, so that an older cache is not taken for it.
_FORM = 3


def unpacked(jar: Jar, cache: Path) -> Path:
    """Where an archive's content is, unpacking it when it is not there yet. The archive itself then
    goes: it is 164 of the 227 MB that were fetched, and its content lies beside it.
    """
    target = place_unpacked(jar, cache)
    was_there = target.is_dir()

    def fill(folder: Path) -> None:
        verify([jar], cache / "maven")
        with tarfile.open(cache / "maven" / jar.path) as archive:
            # Python before 3.11.4 has no filters; the archive is exactly the one of the lock file.
            if hasattr(tarfile, "data_filter"):
                archive.extraction_filter = tarfile.data_filter
            archive.extractall(folder)  # noqa: S202 - see above

    found = _once(target, cache, fill)
    if not was_there:
        (cache / "maven" / jar.path).unlink(missing_ok=True)
    return found


def plugin_folder(converter: tuple[Jar, ...], debezium: Path, cache: Path) -> Path:
    """A `plugin.path` for Connect: one folder for Debezium, one for the Avro converter, each with
    its own class loader.
    """
    version = next(jar.version for jar in converter if jar.artifact.endswith("utils-converter"))
    target = cache / "unpacked" / f"plugins-{_FORM}-{version}-{debezium.name}"

    def fill(folder: Path) -> None:
        shutil.copytree(
            debezium / "debezium-connector-postgres", folder / "debezium", copy_function=_link
        )
        (folder / "apicurio-converter").mkdir()
        for jar in converter:
            _link(cache / "maven" / jar.path, folder / "apicurio-converter" / jar.file_name)
        _declare_converter(folder / "apicurio-converter" / "declared.jar")

    return _once(target, cache, fill)


def _declare_converter(path: Path) -> None:
    """What Apicurio's jar lacks: the service file by which Connect finds a plug-in without opening
    every class of every jar (9 s of CPU).
    """
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr(
            "META-INF/services/org.apache.kafka.connect.storage.Converter", f"{AVRO_CONVERTER}\n"
        )


def _once(target: Path, cache: Path, fill: Callable[[Path], None]) -> Path:
    if target.is_dir():
        return target
    try:
        with locked(cache / "unpack.lock"):
            if not target.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
                    fresh = Path(folder) / "fresh"
                    fresh.mkdir()
                    fill(fresh)
                    fresh.rename(target)
    except OSError as error:
        raise disk_error(error, target) from error
    return target


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
