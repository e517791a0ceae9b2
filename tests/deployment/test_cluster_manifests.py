"""The cluster's descriptions: Kubernetes manifests against the API's own schemas, Compose files against the compose specification."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import ROOT

from configurator.authority.installation import AUTHORITY_PORT, CONFIGURATOR, Installation, deploy
from configurator.authority.mosquitto_files import PORTS, BrokerFiles
from configurator.config import ConfiguratorConfig
from consumer_node.config import ConsumerConfig
from hushgrid.shell.config import load
from hushgrid.wire.role import Role
from ppn_node.config import PpnConfig
from testbed.brokers.engines import NATS_ACK_WAIT, NATS_MAX_ACK_PENDING

KUBERNETES = ROOT / "deploy" / "kubernetes"
KUSTOMIZATIONS = sorted(KUBERNETES.rglob("kustomization.yaml"))
MANIFESTS = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")
#: The oldest Kubernetes these are for, and the newest that the checker knows.
VERSIONS = ["1.27", kubernetes_validate.latest_version()]


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def stateful_sets() -> list[dict[str, Any]]:
    return [document for document in everything() if document["kind"] == "StatefulSet"]


def containers_of(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def everything() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in documents(path)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_is_what_the_api_takes_and_has_no_unknown_field(path, version):
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_checker_refuses_an_unknown_field():
    manifest = next(d for d in everything() if d["kind"] == "StatefulSet")
    manifest["spec"]["replica"] = 3
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)


def test_every_file_is_named_by_a_kustomization_and_every_name_is_there():
    named = set()
    for path in KUSTOMIZATIONS:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert (content["kind"], content["apiVersion"]) == ("Kustomization", "kustomize.config.k8s.io/v1beta1")
        assert set(content) <= {"apiVersion", "kind", "namespace", "resources", "configMapGenerator"}
        files = [name for each in content.get("configMapGenerator", ()) for name in each["files"]]
        for name in [*content["resources"], *files]:
            target = path.parent / name
            assert target.exists(), target
            named.add(target / "kustomization.yaml" if target.is_dir() else target)
    named.add(KUBERNETES / "kustomization.yaml")
    assert named == {path for path in KUBERNETES.rglob("*") if path.is_file() and path.suffix != ".md"}


def test_every_volume_and_configuration_that_is_mounted_exists():
    generated = {
        each["name"]
        for path in KUSTOMIZATIONS
        for each in yaml.safe_load(path.read_text(encoding="utf-8")).get("configMapGenerator", ())
    }
    services = {d["metadata"]["name"] for d in everything() if d["kind"] == "Service"}
    for each in [d for d in everything() if d["kind"] == "StatefulSet"]:
        spec, pod = each["spec"], each["spec"]["template"]["spec"]
        assert spec["serviceName"] in services
        assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
        volumes = {v["name"] for v in pod["volumes"]} | {v["metadata"]["name"] for v in spec["volumeClaimTemplates"]}
        mounted = {mount["name"] for container in containers_of(pod) for mount in container["volumeMounts"]}
        assert volumes == mounted
        assert {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v} <= generated


def test_nothing_runs_as_root_writes_to_its_image_or_holds_a_capability():
    for each in [d for d in everything() if d["kind"] == "StatefulSet"]:
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in containers_of(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]


def test_an_identity_is_never_in_two_pods():
    replicas = {d["metadata"]["name"]: d["spec"]["replicas"] for d in everything() if d["kind"] == "StatefulSet"}
    assert replicas == {"nats": 3, "authority": 1, "configurator": 1, "ppn": 1, "consumer": 1}


def test_every_image_has_a_tag_and_ours_has_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for each in stateful_sets():
        for container in containers_of(each["spec"]["template"]["spec"]):
            name, _, tag = container["image"].partition(":")
            assert tag not in ("", "latest"), name
            if name.startswith("hushgrid-"):
                assert tag == version, name


def test_an_agent_is_ready_by_the_check_that_its_image_brings():
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert found is not None
    for name in (CONFIGURATOR, "ppn", "consumer"):
        (each,) = [d for d in stateful_sets() if d["metadata"]["name"] == name]
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["readinessProbe"]["exec"]["command"] == json.loads(found[1])


def test_everybody_who_is_asked_says_when_it_is_ready():
    for each in stateful_sets():
        for container in each["spec"]["template"]["spec"]["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= set(container), container["name"]


def test_the_configurator_gets_its_certificates_where_the_authority_serves():
    config = load(ConfiguratorConfig, KUBERNETES / "configurator" / "configurator.toml")
    assert config.agent.id == CONFIGURATOR
    assert config.authority.url == f"tls://authority:{AUTHORITY_PORT}"
    (service,) = [d for d in everything() if d["kind"] == "Service" and d["metadata"]["name"] == "authority"]
    assert [port["port"] for port in service["spec"]["ports"]] == [AUTHORITY_PORT]
    (each,) = [d for d in stateful_sets() if d["metadata"]["name"] == "authority"]
    arguments = each["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--grid") + 1] == config.agent.grid
    assert arguments[arguments.index("--port") + 1] == str(AUTHORITY_PORT)


@pytest.mark.parametrize("name", ["authority", CONFIGURATOR])
def test_state_is_founded_from_the_secret_once_and_never_again(name, tmp_path):
    """The shell line itself, on what `hushgrid enrol deployment` writes, as a secret's mode has it."""
    files = BrokerFiles("village", PurePosixPath("/etc/mosquitto"), PORTS)
    deploy(Installation(agents=(("ppn-1", Role.PPN),), broker=files), tmp_path / "deployed", dt.datetime.now(dt.UTC))
    secret, state = tmp_path / "deployed" / name, tmp_path / "state"
    state.mkdir()
    for path in secret.iterdir():
        path.chmod(0o440)
    (each,) = [d for d in stateful_sets() if d["metadata"]["name"] == name]
    (founding,) = each["spec"]["template"]["spec"]["initContainers"]
    line = (
        founding["command"][-1].replace("/run/secrets/hushgrid", str(secret)).replace("/var/lib/hushgrid", str(state))
    )
    subprocess.run(["sh", "-c", line], check=True)
    assert {path.name for path in state.iterdir()} == {*(path.name for path in secret.iterdir()), "founded"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in state.iterdir() if path.name != "founded")
    lived = next(state.glob("*.sqlite"))
    lived.write_bytes(b"since")
    subprocess.run(["sh", "-c", line], check=True)
    assert lived.read_bytes() == b"since"


def test_the_agents_configurations_load_and_name_all_nodes():
    for config, path in (
        (PpnConfig, "ppn/ppn.toml"),
        (ConsumerConfig, "consumer/consumer.toml"),
        (ConfiguratorConfig, "configurator/configurator.toml"),
    ):
        broker = load(config, KUBERNETES / path).broker
        nodes = sorted((broker.url, *broker.further_urls))
        assert nodes == [f"mqtts://nats-{number}.nats-nodes:8883" for number in range(3)]
    assert load(PpnConfig, KUBERNETES / "ppn" / "ppn.toml").ppn.workers == 4


def certificate(directory: Path) -> None:
    """A self-signed one, as ca.crt, servers-ca.crt, tls.crt and tls.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nats")])
    now = dt.datetime.now(dt.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    wire = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (directory / "ca.crt").write_bytes(wire)
    (directory / "servers-ca.crt").write_bytes(wire)
    (directory / "tls.crt").write_bytes(wire)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "tls.key").write_bytes(private)


@pytest.mark.parametrize("path", ["broker/nats.conf", "deploy/kubernetes/brokers/nats.conf"])
def test_nats_takes_its_shipped_configuration_which_says_what_the_testbeds_says(path, needs_engine, tmp_path):
    needs_engine("nats-cluster")
    certificate(tmp_path)
    text = (ROOT / path).read_text(encoding="utf-8")
    said = dict(re.findall(r"(ack_wait|max_ack_pending): \"?(\w+)", text))
    assert said == {"ack_wait": NATS_ACK_WAIT, "max_ack_pending": str(NATS_MAX_ACK_PENDING)}
    file = tmp_path / "nats.conf"
    file.write_text(text.replace("/etc/nats/tls", str(tmp_path)), encoding="utf-8")
    environment = {
        "POD_NAME": "nats-0",
        "NATS_NAME": '"broker-1"',
        "NATS_MQTT": '"0.0.0.0:1883"',
        "NATS_CLUSTER": '"0.0.0.0:6222"',
        "NATS_HEALTH": '"127.0.0.1:8222"',
        "NATS_STORE": f'"{tmp_path}/data"',
        "NATS_ROUTES": '["nats://broker-1:6222", "nats://broker-2:6222", "nats://broker-3:6222"]',
    }
    program = shutil.which("nats-server") or "/usr/sbin/nats-server"
    done = subprocess.run(
        [program, "-t", "-c", str(file)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_compose_takes_the_cluster_on_top_of_the_testbed(docker_compose):
    files = ["-f", "docker-compose.yml", "-f", "deploy/compose.cluster.yml"]
    done = subprocess.run(
        [*docker_compose, *files, "config"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    nodes = {name: each for name, each in services.items() if each["image"].startswith("nats:")}
    assert set(nodes) == {"broker", "broker-2", "broker-3"}
    routes = {each["environment"]["NATS_ROUTES"] for each in nodes.values()}
    assert len(routes) == 1
    assert all(f"nats://{name}:6222" in next(iter(routes)) for name in nodes)
    urls = [option for option in services["setup"]["command"] if option.startswith("--broker-url=")]
    assert urls == [f"--broker-url=mqtt://{name}:1883" for name in sorted(nodes)]
    assert len({each["environment"]["NATS_NAME"] for each in nodes.values()}) == 3


def test_compose_refuses_what_the_specification_does_not_know(docker_compose, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text((ROOT / "deploy" / "compose.cluster.yml").read_text().replace("pids_limit", "pids_limits"))
    files = ["-f", "docker-compose.yml", "-f", str(broken)]
    done = subprocess.run(
        [*docker_compose, *files, "config", "-q"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert "pids_limits" in done.stderr
