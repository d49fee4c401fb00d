"""nginx and Caddy before Pulse: read by their own parsers, and what they send where is what Pulse answers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import crossplane
import pytest

from ingest.decode import MAX_BODY
from ingest.front import KEEPALIVE_SECONDS
from query_api.endpoints import ENDPOINTS
from tests.deploy.files.facts import COLLECTED, PATHS
from tests.deploy.files.reading import DEPLOY, SETTINGS, Json, at, find_settings, items, mapping, read_json, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = DEPLOY / "proxy"
CADDY = Path(sys.executable).with_name("caddy")
STREAM = "/v1/realtime/stream"
WHOLE = (
    "events {{}}\nhttp {{ include {folder}/nginx-pulse.conf; server {{ include {folder}/nginx-first-party.conf; }} }}\n"
)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """Every directive of both files, as nginx' own project parses them."""
    whole = tmp_path_factory.mktemp("nginx") / "nginx.conf"
    whole.write_text(WHOLE.format(folder=FOLDER))
    parsed = cast("Json", crossplane.parse(str(whole), strict=True))
    assert (at(parsed, "status"), at(parsed, "errors")) == ("ok", [])
    return [directive for file in items(at(parsed, "config"))[1:] for directive in items(at(file, "parsed"))]


def walk(directives: list[Json]) -> Iterator[Json]:
    """Every directive, outer before inner."""
    for directive in directives:
        yield directive
        yield from walk(items(mapping(directive).get("block", [])))


def find(directives: list[Json], name: str) -> list[list[str]]:
    """Arguments of each directive of this name."""
    found = [item for item in walk(directives) if at(item, "directive") == name]
    return [[text(word) for word in items(at(item, "args"))] for item in found]


def inside(directives: list[Json], *arguments: str) -> list[Json]:
    """What stands in the location of these arguments."""
    locations = [item for item in walk(directives) if at(item, "directive") == "location"]
    (found,) = [item for item in locations if at(item, "args") == list(arguments)]
    return items(at(found, "block"))


def test_nginx_sends_collecting_to_collectors(nginx: list[Json]) -> None:
    patterns = [arguments[1] for arguments in find(nginx, "location") if "pixel" in arguments[-1]]
    own, first_party = sorted(patterns, key=len)
    assert all(re.search(own, path) for path in COLLECTED)
    assert all(re.search(first_party.replace("?<", "?P<"), f"/p{path}") for path in COLLECTED)
    assert find(inside(nginx, "~", own), "proxy_pass") == [["http://pulse_collector"]]
    assert not [path for path in PATHS | {STREAM, "/v1/stats"} if re.search(own, path)]


def test_nginx_lets_the_stream_flow_and_keeps_the_inside_in(nginx: list[Json]) -> None:
    assert STREAM in {endpoint.path for endpoint in ENDPOINTS}
    assert find(inside(nginx, "=", STREAM), "proxy_buffering") == [["off"]]
    (pattern,) = [arguments[1] for arguments in find(nginx, "location") if "metrics" in arguments[-1]]
    assert all(re.search(pattern, path) for path in PATHS)
    assert find(inside(nginx, "~", pattern), "return") == [["404"]]


def test_nginx_appends_the_peer_and_leaves_refusals_to_pulse(nginx: list[Json]) -> None:
    headers = find(nginx, "proxy_set_header")
    assert headers.count(["X-Forwarded-For", "$proxy_add_x_forwarded_for"]) == 2
    assert headers.count(["Connection", ""]) == 2
    assert all(int(size.removesuffix("m")) * 2**20 > MAX_BODY for (size,) in find(nginx, "client_max_body_size"))
    assert len(find(nginx, "client_max_body_size")) == 2


def test_nginx_closes_idle_connections_before_pulse_does(nginx: list[Json]) -> None:
    assert all(int(seconds.removesuffix("s")) < KEEPALIVE_SECONDS for (seconds,) in find(nginx, "keepalive_timeout"))
    assert len(find(nginx, "keepalive")) == len(find(nginx, "upstream")) == 2


def run_caddy(folder: Path, *arguments: str) -> str:
    """What Caddy prints; its own files go into `folder`. Fails where it refuses."""
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run([CADDY, *arguments], capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile.first-party"])
def test_caddy_takes_its_file(tmp_path: Path, name: str) -> None:
    path = str(FOLDER / name)
    run_caddy(tmp_path, "validate", "--adapter", "caddyfile", "--config", path)
    assert run_caddy(tmp_path, "fmt", path) == (FOLDER / name).read_text()


def read_routes(tmp_path: Path, name: str) -> Iterator[Mapping[str, Json]]:
    """Every route of a Caddyfile, outer before inner, as Caddy understands it."""
    adapted = tmp_path / "caddy.json"
    adapted.write_text(run_caddy(tmp_path, "adapt", "--adapter", "caddyfile", "--config", str(FOLDER / name)))
    waiting = items(at(read_json(adapted), "apps", "http", "servers", "srv0", "routes"))
    while waiting:
        route = mapping(waiting.pop(0))
        yield route
        waiting += [inner for handler in items(route["handle"]) for inner in items(mapping(handler).get("routes", []))]


def read_matched(route: Mapping[str, Json]) -> frozenset[str]:
    """The paths that a route matches, empty where it matches by something else."""
    return frozenset(text(path) for path in items(mapping(at(route["match"], 0)).get("path", [])))


def ends_in(route: Mapping[str, Json], handler: str) -> bool:
    """Whether such a handler answers there, at any depth."""
    return f"'handler': '{handler}'" in str(route["handle"])


@pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile.first-party"])
def test_caddy_sends_collecting_to_collectors(tmp_path: Path, name: str) -> None:
    matched = [route for route in read_routes(tmp_path, name) if "match" in route]
    (collecting,) = [route for route in matched if read_matched(route) == COLLECTED]
    assert ends_in(collecting, "reverse_proxy")


def test_caddy_lets_the_stream_flow_and_keeps_the_inside_in(tmp_path: Path) -> None:
    routes = list(read_routes(tmp_path, "Caddyfile"))
    (kept,) = [route for route in routes if "match" in route and read_matched(route) == PATHS]
    assert ends_in(kept, "static_response")
    assert sum("'flush_interval': -1" in str(route) for route in routes if "match" not in route) >= 1


def test_caddy_leaves_refusals_to_pulse_and_closes_idle_connections_first() -> None:
    for name in ("Caddyfile", "Caddyfile.first-party"):
        written = (FOLDER / name).read_text()
        assert [int(size) * 2**20 > MAX_BODY for size in re.findall(r"max_size (\d+)MiB", written)] == [True]
        idle = [int(seconds) for seconds in re.findall(r"keepalive (\d+)s", written)]
        assert idle
        assert all(seconds < KEEPALIVE_SECONDS for seconds in idle)


def test_settings_that_are_named_exist() -> None:
    own = {"PULSE_DOMAIN", "PULSE_COLLECTOR", "PULSE_QUERY"}  # of the Caddyfile
    written = "".join(path.read_text() for path in FOLDER.iterdir())
    assert find_settings(written) - own <= SETTINGS
