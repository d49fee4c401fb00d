"""nginx and Caddy before Pulse: read by their own parsers, and what they send where is what Pulse answers."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, cast

import crossplane
import pytest

from ingest.decode import MAX_BODY
from ingest.front import KEEPALIVE_SECONDS
from tests.deploy.files.facts import ASKED, COLLECTED, PATHS
from tests.deploy.files.reading import DEPLOY, SETTINGS, Json, at, find_settings, items, mapping, read_json, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FOLDER = DEPLOY / "proxy"
CADDY = Path(sys.executable).with_name("caddy")
STREAM = "/v1/realtime/stream"
SERVERS = {"PULSE_COLLECTOR": "collector:8000", "PULSE_QUERY": "query:8000"}
WHOLE = (
    "events {{}}\nhttp {{ include {folder}/nginx-pulse.conf; server {{ include {folder}/nginx-first-party.conf; }} }}\n"
)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> list[Json]:
    """Every directive of both files, as nginx' own project parses them."""
    whole = tmp_path_factory.mktemp("nginx") / "nginx.conf"
    whole.write_text(WHOLE.format(folder=FOLDER))
    parsed = cast("Json", crossplane.parse(str(whole)))
    assert (at(parsed, "status"), at(parsed, "errors")) == ("ok", [])
    found = [directive for file in items(at(parsed, "config"))[1:] for directive in items(at(file, "parsed"))]
    values = [value for item in walk(found) if at(item, "directive") == "map" for value in items(at(item, "block"))]
    assert {at(item, "directive") for item in walk(found) if item not in values} <= set(crossplane.analyzer.DIRECTIVES)
    return found


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


def locate(directives: list[Json], path: str) -> list[str]:
    """The arguments of the location that nginx chooses: the same path, else the first pattern, else the root."""
    locations = find(directives, "location")
    if ["=", path] in locations:
        return ["=", path]
    patterns = [arguments for arguments in locations if arguments[0] == "~"]
    found = [arguments for arguments in patterns if re.search(arguments[1].replace("?<", "?P<"), path)]
    return found[0] if found else ["/"]


def find_upstream(directives: list[Json], method: str, path: str) -> str:
    """Where nginx sends a request."""
    ((place,),) = find(inside(directives, *locate(directives, path)), "proxy_pass")
    name = place.removeprefix("http://").partition("$pulse_path")[0]
    if not name.startswith("$"):
        return name
    (found,) = [item for item in walk(directives) if at(item, "args") == ["$request_method", name]]
    assert at(found, "directive") == "map"
    by_method = {text(at(item, "directive")): text(at(item, "args", 0)) for item in items(at(found, "block"))}
    return by_method.get(method, by_method["default"])


@pytest.mark.parametrize(("method", "path"), sorted(COLLECTED))
def test_nginx_sends_what_is_collected_to_collectors(nginx: list[Json], method: str, path: str) -> None:
    assert find_upstream(nginx, method, path) == "pulse_collector"
    assert find_upstream(nginx, method, f"/p{path}") == "pulse_collector"


@pytest.mark.parametrize(("method", "path"), sorted(ASKED))
def test_nginx_sends_questions_to_query_servers(nginx: list[Json], method: str, path: str) -> None:
    assert find_upstream(nginx, method, path) == "pulse_query"


def test_nginx_lets_the_stream_flow_and_keeps_the_inside_in(nginx: list[Json]) -> None:
    assert ("GET", STREAM) in ASKED
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
    environment = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")} | SERVERS
    done = subprocess.run([CADDY, *arguments], capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile.first-party"])
def test_caddy_takes_its_file(tmp_path: Path, name: str) -> None:
    path = str(FOLDER / name)
    run_caddy(tmp_path, "validate", "--adapter", "caddyfile", "--config", path)
    assert run_caddy(tmp_path, "fmt", path) == (FOLDER / name).read_text()


def read_routes(tmp_path: Path, name: str) -> list[Json]:
    """The routes of a Caddyfile as Caddy understands it."""
    adapted = tmp_path / "caddy.json"
    adapted.write_text(run_caddy(tmp_path, "adapt", "--adapter", "caddyfile", "--config", str(FOLDER / name)))
    return items(at(read_json(adapted), "apps", "http", "servers", "srv0", "routes"))


def is_matched(route: Mapping[str, Json], method: str, path: str) -> bool:
    """Whether a route is for such a request, of whichever host; Caddy's paths end in a star at most."""
    ways = [mapping(way) for way in items(route.get("match", [{}]))]
    return any(
        any(fnmatch(path, text(known)) for known in items(way.get("path", ["*"])))
        and method in items(way.get("method", [method]))
        for way in ways
    )


def find_answering(routes: list[Json], method: str, path: str) -> Sequence[Mapping[str, Json]]:
    """The handlers that answer such a request, the first of them does."""
    found: list[Mapping[str, Json]] = []
    for route in map(mapping, routes):
        for handler in map(mapping, items(route["handle"])) if is_matched(route, method, path) else ():
            path = path.removeprefix(text(handler.get("strip_path_prefix", "")))
            if handler["handler"] in {"reverse_proxy", "static_response"}:
                found.append(handler)
            found += find_answering(items(handler.get("routes", [])), method, path)
    return found


def to_place(handler: Mapping[str, Json]) -> Json:
    """Where a handler sends to, or the status that it answers with."""
    return at(handler["upstreams"], 0, "dial") if "upstreams" in handler else handler["status_code"]


def test_caddy_sends_what_is_collected_to_collectors_and_questions_to_query_servers(tmp_path: Path) -> None:
    routes = read_routes(tmp_path, "Caddyfile")
    places = {asked: to_place(find_answering(routes, *asked)[0]) for asked in COLLECTED | ASKED}
    assert places == dict.fromkeys(COLLECTED, "collector:8000") | dict.fromkeys(ASKED, "query:8000")


def test_caddy_sends_what_is_collected_under_the_sites_own_name_to_collectors(tmp_path: Path) -> None:
    routes = read_routes(tmp_path, "Caddyfile.first-party")
    assert {to_place(find_answering(routes, method, f"/p{path}")[0]) for method, path in COLLECTED} == {
        "collector:8000"
    }
    assert to_place(find_answering(routes, "GET", "/p/v1/stats")[0]) == 404


def test_caddy_lets_the_stream_flow_and_keeps_the_inside_in(tmp_path: Path) -> None:
    routes = read_routes(tmp_path, "Caddyfile")
    assert {to_place(find_answering(routes, "GET", path)[0]) for path in PATHS} == {404}
    assert find_answering(routes, "GET", STREAM)[0]["flush_interval"] == -1


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
