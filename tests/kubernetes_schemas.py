"""`make manifests`: Kubernetes' own schemas and Strimzi's own definitions over deploy/kubernetes.

Both are kept in the cache folder: kubernetes-validate (108 MB) from the Python index, and the
definitions, written by Strimzi's generator of Maven Central from its classes. Then
tests/rooms/test_kubernetes.py runs with them, which without them skips two of its tests. Needs
kubectl and mvn.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from hlf_sync_sandbox.cache import cache_root
from hlf_sync_sandbox.parts.java import java

ROOT = Path(__file__).parents[1]
STRIMZI = "1.2.0"
# Without what they need, which the virtual environment has.
VALIDATE = ("kubernetes-validate==1.37.0", "importlib-resources==7.1.0")

_FOLDER = cache_root() / "kubernetes"
_MODEL = "io.strimzi.api.kafka.model"
_KINDS = {
    "Kafka": "kafka",
    "KafkaNodePool": "nodepool",
    "KafkaTopic": "topic",
    "KafkaUser": "user",
    "KafkaConnect": "connect",
    "KafkaConnector": "connector",
}
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies>
<dependency><groupId>io.strimzi</groupId><artifactId>crd-generator</artifactId><version>{v}</version></dependency>
<dependency><groupId>io.strimzi</groupId><artifactId>api</artifactId><version>{v}</version></dependency>
</dependencies></project>
"""


def main() -> None:
    """Fetch what is missing, run the tests; ends as they do."""
    for program in ("kubectl", "mvn"):
        if shutil.which(program) is None:
            sys.exit(f"make manifests needs {program}")
    environ = {
        **os.environ,
        "PYTHONPATH": str(_validate()),
        "HLF_SYNC_TEST_STRIMZI_CRDS": str(_definitions()),
    }
    command = [sys.executable, "-m", "pytest", "-q", "tests/rooms/test_kubernetes.py"]
    sys.exit(subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode)


def _validate() -> Path:
    target = _FOLDER / VALIDATE[0]
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
            subprocess.run([*pip, *VALIDATE], check=True)
            _keep(Path(folder), target)
    return target


def _definitions() -> Path:
    """`<Kind>.yaml` each."""
    target = _FOLDER / f"strimzi-{STRIMZI}"
    if not target.exists():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "pom.xml").write_text(_POM.format(v=STRIMZI), encoding="utf-8")
            copy = ["mvn", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
            subprocess.run(copy, cwd=place, check=True)
            (place / "made").mkdir()
            what = [f"{_MODEL}.{part}.{kind}=made/{kind}.yaml" for kind, part in _KINDS.items()]
            options = ("--target-kube", "1.25+", "--crd-api-version", "v1", "--yaml")
            generator = java(256, "-cp", "jars/*", "io.strimzi.crdgenerator.CrdGenerator")
            subprocess.run([*generator, *options, *what], cwd=place, check=True)
            _keep(place / "made", target)
    return target


def _keep(made: Path, target: Path) -> None:
    """Whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(made, fresh)
    fresh.rename(target)


if __name__ == "__main__":
    main()
