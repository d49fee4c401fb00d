"""The scaled form by Docker Compose: what a service names is there, and what it says of Pulse is so."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.deploy.files.facts import PATHS, STOP_SECONDS, find_paths, read_roles
from tests.deploy.files.reading import (
    DEPLOY,
    ROOT,
    SETTINGS,
    Json,
    at,
    find_settings,
    items,
    mapping,
    names,
    read_documents,
    text,
    to_partitions,
    to_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

(COMPOSE,) = read_documents(DEPLOY / "compose.yaml")
SERVICES = mapping(at(COMPOSE, "services"))
PULSE = {name: mapping(service) for name, service in SERVICES.items() if at(service, "image") == "pulse:latest"}
SERVERS = {name: service for name, service in PULSE.items() if text(at(service, "command", 0)) == "serve"}


def to_words(service: Json) -> list[str]:
    """The command of a service."""
    return [text(word) for word in items(at(service, "command"))]


def to_names(given: Json) -> set[str]:
    """Names of a list whose items are text, `name:rest` or objects with a source; or the keys of an object."""
    if isinstance(given, dict):
        return set(given)
    found = {text(item["source"]) if isinstance(item, dict) else text(item).split(":")[0] for item in items(given)}
    return {name for name in found if not name.startswith(".")}


def test_every_setting_that_is_named_exists() -> None:
    own = {"PULSE_DOMAIN", "PULSE_COLLECTOR", "PULSE_QUERY"}  # of the Caddyfile
    named = {name for service in PULSE.values() for name in mapping(service["environment"])}
    assert named <= SETTINGS
    assert find_settings((DEPLOY / "compose.yaml").read_text()) - own <= SETTINGS


def test_every_role_runs_and_consumers_are_no_more_than_partitions() -> None:
    roles = {name: read_roles(to_words(service)) for name, service in SERVERS.items()}
    assert set.union(*roles.values()) == {"collector", "consumer", "query", "jobs"}
    members = [
        at(service, "environment", "PULSE_MEMBER") for name, service in SERVERS.items() if "consumer" in roles[name]
    ]
    assert len(set(map(str, members))) == len(members)
    (log_url,) = {text(at(service, "environment", "PULSE_LOG_URL")) for service in PULSE.values()}
    assert len(members) <= to_partitions(log_url)


@pytest.mark.parametrize("name", SERVERS)
def test_a_process_of_pulse_may_do_nothing_but_its_work(name: str) -> None:
    service = SERVERS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert at(service, "deploy", "resources", "limits", "memory")
    (folder,) = items(service["tmpfs"])
    assert text(folder).startswith(f"{at(service, 'environment', 'PULSE_DATA')}:")
    assert "uid=10001" in text(folder)


@pytest.mark.parametrize("name", SERVERS)
def test_a_process_of_pulse_is_asked_whether_it_lives_and_has_time_to_stop(name: str) -> None:
    service = SERVERS[name]
    check = text(items(at(service, "healthcheck", "test"))[-1])
    port = text(at(service, "environment", "PULSE_LISTEN")).rpartition(":")[2]
    assert find_paths(check) == {"/healthz"} <= PATHS
    assert f"'127.0.0.1', {port}" in check
    compile(check, "healthcheck", "exec")
    assert int(text(service["stop_grace_period"]).removesuffix("s")) > STOP_SECONDS
    assert all(text(given).endswith(f":{port}") for given in items(service.get("ports", [])))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_leans_on_is_declared(name: str) -> None:
    service = mapping(SERVICES[name])
    for kind in ("volumes", "networks", "secrets"):
        assert to_names(service.get(kind, [])) <= names(at(COMPOSE, kind)), kind
    for other, how in mapping(service.get("depends_on", {})).items():
        if at(how, "condition") == "service_healthy":
            assert at(SERVICES[other], "healthcheck", "test")
        else:
            assert to_words(SERVICES[other]) == ["migrate"]


def test_files_that_are_mounted_are_there() -> None:
    mounts = {text(item) for service in SERVICES.values() for item in items(mapping(service).get("volumes", []))}
    sources = {mount.split(":")[0] for mount in mounts if mount.startswith(".")}
    assert sources
    assert all((DEPLOY / source).exists() for source in sources)


def test_only_the_proxy_is_believed_and_only_prometheus_reads_metrics() -> None:
    (settings,) = {str(sorted(mapping(service["environment"]).items())) for service in (PULSE["query"], PULSE["jobs"])}
    assert f"('PULSE_TRUSTED_PROXIES', '{at(SERVICES, 'proxy', 'networks', 'front', 'ipv4_address')}')" in settings
    assert f"('PULSE_METRICS_FROM', '{at(SERVICES, 'prometheus', 'networks', 'front', 'ipv4_address')}')" in settings


def test_images_are_pinned() -> None:
    images = {text(at(service, "image")) for service in SERVICES.values()} - {"pulse:latest"}
    assert all(re.search(r":v?\d", image) for image in images)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-secrets writes."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(DEPLOY / "compose/make-secrets", folder)
    (folder / "secrets").mkdir()
    subprocess.run([folder / "make-secrets"], check=True)  # noqa: S603 - our own script
    return folder / "secrets"


def test_make_secrets_writes_what_is_mounted(secrets: Path) -> None:
    mounted = {text(at(secret, "file")).rpartition("/")[2] for secret in mapping(at(COMPOSE, "secrets")).values()}
    assert mounted == {path.name for path in secrets.iterdir()}
    given = [mapping(service["environment"]) for service in PULSE.values()]
    files = {text(path) for settings in given for name, path in settings.items() if name.endswith("_FILE")}
    assert {path.removeprefix("/run/secrets/") for path in files} <= mounted


def test_urls_lead_to_the_services_with_their_passwords(secrets: Path) -> None:
    ports = {"warehouse_url": ("clickhouse", 8123), "control_url": ("postgres", 5432), "limits_url": ("valkey", 6379)}
    urls = {name: urlsplit((secrets / name).read_text()) for name in ports}
    assert {name: (url.hostname, url.port) for name, url in urls.items()} == ports
    assert {host for host, _ in ports.values()} <= set(SERVICES)
    clickhouse, postgres, valkey = (urls[name].password or "" for name in ports)
    assert hashlib.sha256(clickhouse.encode()).hexdigest() in (secrets / "clickhouse_user.xml").read_text()
    assert (secrets / "postgres_password").read_text() == postgres
    assert f"requirepass {valkey}\n" in (secrets / "valkey.conf").read_text()
    assert len({clickhouse, postgres, valkey}) == 3


@pytest.mark.parametrize("name", PULSE)
def test_pulse_takes_its_settings(name: str, secrets: Path) -> None:
    given = mapping(PULSE[name]["environment"])
    settings = to_settings({key: text(value).replace("/run/secrets", str(secrets)) for key, value in given.items()})
    assert settings.is_scaled
    assert settings.warehouse == (secrets / "warehouse_url").read_text()


def test_secrets_are_never_committed_and_never_in_the_image() -> None:
    assert (DEPLOY / "compose/secrets/.gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]
    assert "deploy/compose/secrets" in (ROOT / ".dockerignore").read_text().splitlines()
