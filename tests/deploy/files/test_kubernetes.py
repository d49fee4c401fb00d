"""The manifests: each passes Kubernetes' own schema, and what one names another holds."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from tests.deploy.files.facts import ASKED, COLLECTED, PATHS, STOP_SECONDS, read_roles
from tests.deploy.files.reading import (
    DEPLOY,
    SETTINGS,
    Json,
    at,
    items,
    mapping,
    names,
    number,
    read_documents,
    text,
    to_partitions,
    to_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = DEPLOY / "kubernetes"
KUBERNETES = "1.37"
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
BY_HAND = {"adapter.yaml"}  # goes into another program's configuration
FILES = sorted(path for path in FOLDER.rglob("*.yaml") if path not in KUSTOMIZATIONS and path.name not in BY_HAND)
DOCUMENTS = [document for path in FILES for document in read_documents(path)]
FOREIGN = {"ScaledObject", "PodMonitor"}  # Kubernetes has no schema of these
COMPONENT = "app.kubernetes.io/component"
WORK = {"Deployment", "StatefulSet", "Job"}
PODS = {text(at(document, "metadata", "name")): document for document in DOCUMENTS if at(document, "kind") in WORK}
SERVING = {name: document for name, document in PODS.items() if name != "pulse-migrate"}
EXAMPLE = FOLDER / "overlays/example"


def of_kind(*kinds: str) -> list[Json]:
    """Every document of these kinds."""
    return [document for document in DOCUMENTS if at(document, "kind") in kinds]


def container(document: Json) -> Json:
    """The one container of a pod's template."""
    (found,) = items(at(document, "spec", "template", "spec", "containers"))
    return found


def read_roles_of(name: str) -> set[str]:
    """The roles of the pods of a name."""
    return read_roles([text(word) for word in items(at(container(PODS[name]), "args"))])


def read_settings(folder: Path) -> dict[str, str]:
    """Settings that the kustomization of a folder generates."""
    (kustomization,) = read_documents(folder / "kustomization.yaml")
    literals = items(at(kustomization, "configMapGenerator", 0, "literals"))
    return dict(text(literal).split("=", 1) for literal in literals)


def to_id(document: Json) -> str:
    return f"{at(document, 'kind')}-{at(document, 'metadata', 'name')}"


@pytest.mark.parametrize("document", [found for found in DOCUMENTS if at(found, "kind") not in FOREIGN], ids=to_id)
def test_it_passes_the_schema_of_kubernetes(document: Json) -> None:
    assert kubernetes_validate.validate(mapping(document), KUBERNETES, strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=lambda path: path.parent.name)
def test_a_kustomization_names_every_file_beside_it_and_nothing_else(path: Path) -> None:
    (document,) = read_documents(path)
    named = {text(name) for name in items(at(document, "resources"))}
    assert {name for name in named if "/" not in name} == {file.name for file in FILES if file.parent == path.parent}
    others = named | {text(name) for name in items(mapping(document).get("components", []))}
    assert all((path.parent / name).exists() for name in others)
    for patch in items(mapping(document).get("patches", [])):
        target = PODS[text(at(patch, "target", "name"))]
        assert at(target, "kind") == at(patch, "target", "kind")
        steps = [
            text(at(step, "path")).strip("/").split("/") for step in items(yaml.safe_load(text(at(patch, "patch"))))
        ]
        assert all(at(target, *step) is not None for step in steps)


def test_settings_exist_and_secrets_lie_where_they_are_looked_for() -> None:
    settings = read_settings(FOLDER / "base") | read_settings(EXAMPLE)
    assert set(settings) <= SETTINGS
    files = {value for name, value in settings.items() if name.endswith("_FILE")}
    (secret,) = of_kind("Secret")
    assert files == {f"/run/secrets/pulse/{key}" for key in names(at(secret, "stringData"))}
    for document in PODS.values():
        mounts = {
            text(at(mount, "name")): at(mount, "mountPath") for mount in items(at(container(document), "volumeMounts"))
        }
        assert mounts == {"data": settings["PULSE_DATA"], "urls": "/run/secrets/pulse"}
        volumes = {
            text(at(volume, "name")): volume for volume in items(at(document, "spec", "template", "spec", "volumes"))
        }
        assert at(volumes["urls"], "secret", "secretName") == at(secret, "metadata", "name")
        assert at(container(document), "envFrom", 0, "configMapRef", "name") == "pulse-settings"


def test_pulse_takes_its_settings(tmp_path: Path) -> None:
    (secret,) = of_kind("Secret")
    for key, url in mapping(at(secret, "stringData")).items():
        (tmp_path / key).write_text(text(url))
    given = read_settings(FOLDER / "base") | read_settings(EXAMPLE)
    settings = to_settings({name: value.replace("/run/secrets/pulse", str(tmp_path)) for name, value in given.items()})
    assert settings.is_scaled
    assert settings.trusted_proxies
    assert settings.metrics_from


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_closed(name: str) -> None:
    pod = at(PODS[name], "spec", "template", "spec")
    assert at(pod, "securityContext", "runAsNonRoot") is True
    assert at(pod, "securityContext", "runAsUser") == 10001
    assert at(pod, "securityContext", "seccompProfile", "type") == "RuntimeDefault"
    assert at(pod, "automountServiceAccountToken") is False
    inner = mapping(at(container(PODS[name]), "securityContext"))
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["allowPrivilegeEscalation"] is False
    assert at(inner, "capabilities", "drop") == ["ALL"]
    assert {"cpu", "memory"} <= names(at(container(PODS[name]), "resources", "requests"))
    assert at(container(PODS[name]), "resources", "limits", "memory")


@pytest.mark.parametrize("name", SERVING)
def test_a_server_is_probed_and_has_time_to_stop(name: str) -> None:
    inside = container(SERVING[name])
    probes = {
        kind: text(at(inside, f"{kind}Probe", "httpGet", "path")) for kind in ("startup", "liveness", "readiness")
    }
    assert set(probes.values()) <= PATHS
    assert (probes["startup"], probes["liveness"]) == ("/healthz", "/healthz")
    # Who is asked says himself what fails; without an endpoint a stranger would say it.
    assert probes["readiness"] == ("/healthz" if read_roles_of(name) & {"collector", "query"} else "/readyz")
    port = text(at(inside, "ports", 0, "name"))
    assert {text(at(inside, f"{kind}Probe", "httpGet", "port")) for kind in probes} == {port}
    listen = read_settings(FOLDER / "base")["PULSE_LISTEN"]
    assert number(at(inside, "ports", 0, "containerPort")) == int(listen.rpartition(":")[2])
    pause = number(at(inside, "lifecycle", "preStop", "sleep", "seconds"))
    assert number(at(SERVING[name], "spec", "template", "spec", "terminationGracePeriodSeconds")) > STOP_SECONDS + pause


def test_every_role_runs_and_one_alone_does_the_jobs() -> None:
    expected = {f"pulse-{role}": {role} for role in ("collector", "consumer", "jobs")}
    both = {"pulse-query": {"query", "collector"}}
    assert {name: read_roles_of(name) for name in PODS} == expected | both | {"pulse-migrate": set()}
    assert at(PODS["pulse-jobs"], "spec", "replicas") == 1
    assert at(PODS["pulse-jobs"], "spec", "strategy", "type") == "Recreate"
    assert at(PODS["pulse-consumer"], "kind") == "StatefulSet"


@pytest.mark.parametrize("document", of_kind("Deployment", "StatefulSet", "Service", "PodDisruptionBudget"), ids=to_id)
def test_a_selector_finds_the_pods_of_its_component(document: Json) -> None:
    selector = at(document, "spec", "selector")
    wanted = mapping(mapping(selector).get("matchLabels", selector))
    found = [pod for pod in PODS.values() if at(pod, "spec", "template", "metadata", "labels") == wanted]
    assert len(found) == 1
    assert at(document, "metadata", "labels", COMPONENT) == wanted[COMPONENT]
    if at(document, "kind") == "Service":
        port = at(document, "spec", "ports", 0)
        assert at(port, "targetPort") == at(container(found[0]), "ports", 0, "name")
        assert at(port, "port") == at(container(found[0]), "ports", 0, "containerPort")


def test_autoscalers_lead_to_what_is_there_and_never_above_the_partitions() -> None:
    for document in of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        target = mapping(at(document, "spec", "scaleTargetRef"))
        found = PODS[text(target["name"])]
        assert (at(found, "apiVersion"), at(found, "kind")) == (target["apiVersion"], target["kind"])
        if target["name"] == "pulse-consumer":
            spec = mapping(at(document, "spec"))
            most = number(spec.get("maxReplicas", spec.get("maxReplicaCount")))
            for folder in (FOLDER / "base", EXAMPLE):
                assert most <= to_partitions(read_settings(folder)["PULSE_LOG_URL"])
        else:
            assert "replicas" not in mapping(at(found, "spec"))


def test_the_external_metric_is_what_the_adapter_makes() -> None:
    (adapter,) = read_documents(FOLDER / "components/consumers-hpa/adapter.yaml")
    (scaler,) = read_documents(FOLDER / "components/consumers-hpa/autoscaler.yaml")
    metric = at(scaler, "spec", "metrics", 0, "external", "metric", "name")
    assert at(adapter, "externalRules", 0, "name", "as") == metric


def test_pods_may_reach_the_ports_of_their_urls() -> None:
    (secret,) = of_kind("Secret")
    urls = [text(url) for url in mapping(at(secret, "stringData")).values()]
    ports = {urlsplit(url).port for url in urls} | {9092}
    rules = [at(rule, "spec") for rule in of_kind("NetworkPolicy") if "egress" in mapping(at(rule, "spec"))]
    opened = {
        number(at(port, "port"))
        for rule in rules
        for way in items(at(rule, "egress"))
        for port in items(at(way, "ports"))
    }
    assert ports <= opened
    for rule in of_kind("NetworkPolicy"):
        assert at(rule, "spec", "podSelector", "matchLabels") == {"app.kubernetes.io/name": "pulse"}


def read_services(ingress: Json) -> dict[str, dict[str, str]]:
    """By host and path, the service that requests go to; Exact paths, and the root for all others."""
    services: dict[str, dict[str, str]] = {}
    for rule in items(at(ingress, "spec", "rules")):
        paths = services.setdefault(text(at(rule, "host")), {})
        for way in items(at(rule, "http", "paths")):
            assert at(way, "pathType") == ("Prefix" if at(way, "path") == "/" else "Exact")
            paths[text(at(way, "path"))] = text(at(way, "backend", "service", "name"))
    return services


def test_the_ingress_sends_every_request_to_who_answers_it() -> None:
    (ingress,) = of_kind("Ingress")
    services = read_services(ingress)
    collecting, whole = services["collect.example.com"], services["analytics.example.com"]
    assert collecting == dict.fromkeys({path for _, path in COLLECTED}, "pulse-collector")
    for role, requests in (("collector", COLLECTED), ("query", ASKED)):
        assert all(role in read_roles_of(whole.get(path, whole["/"])) for _, path in requests)
    assert {text(host) for tls in items(at(ingress, "spec", "tls")) for host in items(at(tls, "hosts"))} == set(
        services
    )
    known = {text(at(service, "metadata", "name")) for service in of_kind("Service")}
    assert {name for paths in services.values() for name in paths.values()} <= known
