"""deploy/kubernetes against the code: without a cluster, but with kustomize, Kubernetes' schemas and
Strimzi's own definitions where they can be had.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hlf_sync.config.settings import IN_FILES, Settings, variable
from hlf_sync.kafka.anchor_topic import _CLIENT as ANCHOR_CLIENT
from hlf_sync.kafka.topics import read_topics
from hlf_sync.reconcile.under_way import _CLIENT as RECONCILE_CLIENT
from hlf_sync.watch.fleet_watch import HEARTBEAT_TOPIC, REPLAY_GROUP
from hlf_sync.watch.source_watch import ANCHOR_TOPIC
from hlf_sync.watch.status_server import serve
from hlf_sync.web import api, session
from hlf_sync.web.page.routes import routes as page_routes
from hlf_sync.why.changes import _CLIENT as WHY_CLIENT
from starlette.routing import BaseRoute, Mount, Route

from tests import kubernetes_files

FOLDER = kubernetes_files.FOLDER
ROOT = kubernetes_files.ROOT
OVERLAYS = ["own-kafka", "strimzi"]
DEFAULTS = Settings.model_validate({})
YAMLS = sorted(FOLDER.rglob("*.yaml"))
CORE = {"v1", "apps/v1", "batch/v1", "policy/v1", "networking.k8s.io/v1"}

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
# A folder with <Kind>.yaml: `make manifests` (tests/kubernetes_schemas.py).
CRDS = os.environ.get("HLF_SYNC_TEST_STRIMZI_CRDS")
_MARGIN_S = 5

Resource = dict[str, Any]


def _documents(path: Path) -> list[Resource]:
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]


def _all() -> list[Resource]:
    return [one for path in YAMLS if path.name != "kustomization.yaml" for one in _documents(path)]


def _of(kind: str) -> list[Resource]:
    return [one for one in _all() if one["kind"] == kind]


def _named(kind: str, name: str) -> Resource:
    (found,) = [one for one in _of(kind) if one["metadata"]["name"] == name]
    return found


def _pods() -> list[tuple[str, Resource]]:
    return [
        (one["metadata"]["name"], one["spec"]["template"]["spec"])
        for one in (*_of("Deployment"), *_of("Job"))
    ]


@cache
def _built(overlay: str) -> list[Resource]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def _kustomizations() -> Iterator[tuple[Path, Resource]]:
    for path in FOLDER.rglob("kustomization.yaml"):
        (found,) = _documents(path)
        yield path.parent, found


def test_everything_parses_and_is_named_once() -> None:
    """Each document has kind and name, and no two of one kind share it."""
    names = [(one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in _all()]
    assert len(names) == len(set(names)) > 30


def test_every_file_is_listed_and_every_listed_file_exists() -> None:
    """A file that nobody lists is applied by nobody."""
    listed = set()
    for folder, found in _kustomizations():
        generators = found.get("configMapGenerator", [])
        envs = [env for generator in generators for env in generator.get("envs", [])]
        for name in (*found.get("resources", []), *found.get("components", []), *envs):
            path = (folder / name).resolve()
            assert path.exists(), (folder, name)
            listed.add(path)
    files = {path for path in YAMLS if path.name != "kustomization.yaml"}
    assert files | set(FOLDER.rglob("*.env")) == {path for path in listed if path.is_file()}


@pytest.mark.parametrize("path", kubernetes_files.files(), ids=lambda path: path.name)
def test_what_is_generated_is_what_the_code_says_today(path: Path) -> None:
    """Rules, topics and connector; `python -m tests.kubernetes_files` writes them anew."""
    assert path.read_text(encoding="utf-8") == kubernetes_files.files()[path]


def test_topics_have_the_names_partitions_and_settings_of_the_packaged_file() -> None:
    """Beside them only Kafka Connect's own three, compacted."""
    wanted = {
        topic.name: (topic.partitions, topic.replicas, dict(topic.config))
        for topic in read_topics(
            changes_topic=DEFAULTS.changes_topic, dead_letters_topic=DEFAULTS.dead_letters_topic
        )
    }
    found = {
        one["spec"]["topicName"]: tuple(
            one["spec"][key] for key in ("partitions", "replicas", "config")
        )
        for one in _of("KafkaTopic")
    }
    assert {name: found[name] for name in wanted} == wanted
    spec = _named("KafkaConnect", "hlf-connect")["spec"]
    internal = {spec[f"{kind}StorageTopic"] for kind in ("config", "offset", "status")}
    assert found.keys() - wanted.keys() == internal
    assert {found[name][2]["cleanup.policy"] for name in internal} == {"compact"}


def test_every_variable_is_a_setting_and_every_secret_is_a_file() -> None:
    """A slip of the pen would be a setting that does nothing; an environment shows its secrets."""
    known = {variable(name) for name in Settings.model_fields}
    secrets = {variable(name) for name in IN_FILES}
    values = dict(_variables())
    for name in values:
        if name.endswith("_FILE") and name.removesuffix("_FILE") in secrets:
            continue
        assert name in known, name
        assert name not in secrets or name == variable("kafka_options"), name
    assert "password" not in values[variable("kafka_options")]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_of_each_overlay_are_valid(overlay: str) -> None:
    """All that is not a secret, through the model."""
    base = FOLDER / "base"
    values = {
        **_env_file(base / "settings.env"),
        **_env_file(base / "web.env"),
        **_env_file(FOLDER / "overlays" / overlay / "settings.env"),
    }
    settings = Settings.model_validate(
        {name.removeprefix("HLF_SYNC_").lower(): value for name, value in values.items()}
    )
    settings.require(
        "kafka_bootstrap_servers", "schema_registry_url", "connect_url", "dynamics_base_url"
    )


def _env_file(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def _variables() -> Iterator[tuple[str, str]]:
    for path in FOLDER.rglob("*.env"):
        yield from _env_file(path).items()
    for text in (path.read_text(encoding="utf-8") for path in YAMLS):
        yield from re.findall(r"name: (HLF_SYNC_\w+), value: ([^ }]+)", text)


def test_pods_are_as_restricted_as_the_image() -> None:
    """The Dockerfile's user, a root nobody can write to, no rights, no token."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert found is not None
    for name, pod in _pods():
        security = pod["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == tuple(map(int, found.groups()))
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False, name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"] == {"memory": "256Mi"}


def test_commands_are_commands_of_ours() -> None:
    """`args` follow the image's entry point."""
    args = {name: pod["containers"][0]["args"] for name, pod in _pods()}
    assert args == {
        "hlf-sync-worker": ["run"],
        "hlf-sync-web": ["web"],
        "hlf-sync-migrate": ["migrate"],
        "hlf-sync-topics": ["topics", "apply"],
        "hlf-sync-connector": ["connector", "apply"],
    }


def test_a_stop_has_the_time_it_takes() -> None:
    """Killed within its shutdown, a worker would leave its mentors to their leases."""
    for name in ("hlf-sync-worker", "hlf-sync-web"):
        pod = _named("Deployment", name)["spec"]["template"]["spec"]
        grace_s = pod["terminationGracePeriodSeconds"]
        assert grace_s >= DEFAULTS.shutdown_deadline_s + _MARGIN_S


def test_a_start_has_the_time_it_takes() -> None:
    """Until the startup deadline nothing listens, and the worker ends by itself afterwards."""
    (container,) = _named("Deployment", "hlf-sync-worker")["spec"]["template"]["spec"]["containers"]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > DEFAULTS.startup_deadline_s


def test_probes_and_scrapes_ask_what_is_served() -> None:
    """Ports and paths of the status server and of the web service."""
    served = {"hlf-sync-worker": DEFAULTS.http_port, "hlf-sync-web": DEFAULTS.web_port}
    paths = {"hlf-sync-worker": _worker_paths(), "hlf-sync-web": _web_paths()}
    for name, port in served.items():
        (container,) = _named("Deployment", name)["spec"]["template"]["spec"]["containers"]
        (opened,) = container["ports"]
        assert opened["containerPort"] == port
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] in paths[name]
            assert container[probe]["httpGet"]["port"] == opened["name"]
        monitor = _named("PodMonitor", name.removesuffix("-worker"))["spec"]
        (endpoint,) = monitor["podMetricsEndpoints"]
        assert endpoint["port"] == opened["name"]
        assert endpoint["path"] in paths[name]
        labels = _named("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"] == labels


def test_the_scrapes_have_the_jobs_that_the_rules_ask_for() -> None:
    """The operator would name them after the PodMonitor."""
    prometheus = yaml.safe_load((kubernetes_files.RULES / "prometheus.yml").read_text())
    jobs = {
        endpoint["relabelings"][0]["replacement"]
        for one in _of("PodMonitor")
        for endpoint in one["spec"]["podMetricsEndpoints"]
    }
    assert jobs == {scrape["job_name"] for scrape in prometheus["scrape_configs"]}


def _worker_paths() -> set[str]:
    import inspect  # noqa: PLC0415 - the routes are inside the function

    return set(re.findall(r'"(/\w+)":', inspect.getsource(inspect.getmodule(serve) or serve)))


def _web_paths() -> set[str]:
    return {_path(route) for route in (*api.routes, *session.routes, *page_routes)}


def _path(route: BaseRoute) -> str:
    assert isinstance(route, Route | Mount)
    return route.path


def test_the_ingress_shows_what_coordinators_need_and_no_more() -> None:
    """Every route of page and API; not the figures, not the probe."""
    (rule,) = _named("Ingress", "hlf-sync-web")["spec"]["rules"]
    paths = [(one["path"], one["pathType"]) for one in rule["http"]["paths"]]

    def is_shown(path: str) -> bool:
        return any(
            path == prefix if kind == "Exact" else f"{path}/".startswith(f"{prefix}/")
            for prefix, kind in paths
        )

    assert {path for path in _web_paths() if not is_shown(path)} == {"/healthz", "/metrics"}


def _rights(user: str) -> dict[tuple[str, str], set[str]]:
    spec = _named("KafkaUser", user)["spec"]["authorization"]
    assert spec["type"] == "simple"
    return {
        (one["resource"]["type"], one["resource"].get("name", "")): set(one["operations"])
        for one in spec["acls"]
    }


def test_the_worker_may_what_its_clients_do_and_no_more() -> None:
    """Read the changes, write letters, keep the replay group's offsets and the source's anchor."""
    assert _rights("hlf-sync-worker") == {
        ("topic", DEFAULTS.changes_topic): {"Read"},
        ("group", DEFAULTS.kafka_group_id): {"Read"},
        ("topic", DEFAULTS.dead_letters_topic): {"Read", "Write"},
        ("group", REPLAY_GROUP): {"Read"},
        ("topic", ANCHOR_TOPIC): {"Read", "Write"},
        ("group", ANCHOR_CLIENT): {"Describe"},
        ("topic", HEARTBEAT_TOPIC): {"Describe"},
    }


def test_an_operators_tools_write_nothing_to_kafka() -> None:
    """They read, describe every topic, and commit the replay group's offsets."""
    rights = _rights("hlf-sync-operator")
    assert not set().union(*rights.values()) & {"Write", "Create", "Alter", "All"}
    assert {name for kind, name in rights if kind == "group"} == {
        DEFAULTS.kafka_group_id,
        REPLAY_GROUP,
        WHY_CLIENT,
        RECONCILE_CLIENT,
    }
    ours = {
        topic.name
        for topic in read_topics(
            changes_topic=DEFAULTS.changes_topic, dead_letters_topic=DEFAULTS.dead_letters_topic
        )
    }
    described = {
        name for (kind, name), may in rights.items() if kind == "topic" and "DescribeConfigs" in may
    }
    assert described == ours


def test_connect_may_write_what_debezium_writes_and_create_nothing() -> None:
    """Not the letters, not the source's anchor."""
    rights = _rights("hlf-connect")
    spec = _named("KafkaConnect", "hlf-connect")["spec"]
    internal = {spec[f"{kind}StorageTopic"] for kind in ("config", "offset", "status")}
    written = {name for (kind, name), may in rights.items() if kind == "topic" and "Write" in may}
    foreign = {DEFAULTS.dead_letters_topic, ANCHOR_TOPIC}
    ours = {one["spec"]["topicName"] for one in _of("KafkaTopic")} - internal
    assert written == internal | (ours - foreign)
    assert rights["group", spec["groupId"]] == {"Read"}
    assert not set().union(*rights.values()) & {"Create", "Alter", "All"}


def test_connect_is_set_as_in_the_image() -> None:
    """But for what Strimzi sets itself, and where the source file lies."""
    text = (ROOT / "deploy/containers/connect.properties").read_text(encoding="utf-8")
    image = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    spec = _named("KafkaConnect", "hlf-connect")["spec"]
    theirs = {"bootstrap.servers", "listeners", "rest.advertised.host.name", "plugin.path"}
    fields = {
        "group.id": spec["groupId"],
        **{
            f"{kind}.storage.topic": spec[f"{kind}StorageTopic"]
            for kind in ("config", "offset", "status")
        },
    }
    config = {key: str(value) for key, value in spec["config"].items()}
    same = {
        key: value
        for key, value in image.items()
        if key not in theirs and "${" not in value and not key.startswith("config.providers")
    }
    assert {key: (fields | config).get(key) for key in same} == same
    mounted = str(Path(kubernetes_files.SOURCE_FILE).parent)
    assert config["config.providers.file.param.allowed.paths"] == mounted
    (mount,) = spec["template"]["connectContainer"]["volumeMounts"]
    assert mount["mountPath"] == mounted


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_builds_pods_that_find_their_settings_and_secrets(overlay: str) -> None:
    """Every file that a variable or an option names lies below a mount of the same container."""
    built = _built(overlay)
    maps = {one["metadata"]["name"]: one["data"] for one in built if one["kind"] == "ConfigMap"}
    for one in built:
        if one["kind"] not in {"Deployment", "Job"}:
            continue
        pod = one["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounts = container.get("volumeMounts", [])
        assert {mount["name"] for mount in mounts} == volumes
        assert ":" in container["image"]
        given = {env["name"]: env["value"] for env in container.get("env", [])}
        for source in container.get("envFrom", []):
            given |= maps[source["configMapRef"]["name"]]
        if variable("kafka_options") in given:
            options = json.loads(given[variable("kafka_options")])
            given |= {key: value for key, value in options.items() if key.endswith("location")}
        given.pop(variable("connect_source_file"), None)  # a file of Connect's
        paths = [value for value in given.values() if value.startswith("/")]
        for path in paths:
            assert any(path.startswith(f"{mount['mountPath']}/") for mount in mounts), path


@needs_kubectl
@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="opt-in: make manifests (downloads)",
)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_own_schemas_accept_it(overlay: str) -> None:
    """Strictly: a misspelt key is an error."""
    import kubernetes_validate  # noqa: PLC0415

    checked = [one for one in _built(overlay) if one["apiVersion"] in CORE]
    for one in checked:
        for version in ("1.33", "1.37"):
            kubernetes_validate.validate(one, version, strict=True)
    assert len(checked) > 10


@needs_kubectl
@pytest.mark.skipif(CRDS is None, reason="opt-in: make manifests (downloads)")
def test_strimzis_own_definitions_accept_it() -> None:
    """Strictly: a key that the operator does not know is an error."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    checked = [one for one in _built("strimzi") if one["apiVersion"].startswith("kafka.strimzi")]
    for one in checked:
        (crd,) = _documents(Path(CRDS or "") / f"{one['kind']}.yaml")
        (version,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1"]
        schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        Draft202012Validator(_strict(schema)).validate(one["spec"])
    assert len(checked) > 15


def _strict(schema: Any) -> Any:
    """No keys but those it names, except where it says so itself."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _strict(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if (
        schema.get("type") == "object"
        and isinstance(schema.get("properties"), dict)
        and not is_open
    ):
        inner["additionalProperties"] = False
    return inner
