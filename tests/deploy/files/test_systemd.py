"""The unit for one machine: its directives stand in the list of systemd itself, which need not be installed."""

from __future__ import annotations

from pathlib import Path

from tests.deploy.files.facts import STOP_SECONDS, read_roles
from tests.deploy.files.reading import DEPLOY, SETTINGS, find_settings

FOLDER = DEPLOY / "systemd"
# Names of all directives: `/usr/lib/systemd/systemd --dump-configuration-items` of systemd 252 (Debian 12).
KNOWN = Path(__file__).with_name("systemd-252-items.txt")
HARDENED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "UMask": "0077",
    "Restart": "on-failure",
}


def read_unit(path: Path) -> list[tuple[str, str, str]]:
    """Section, directive and value of each line; a line that is none of a unit file raises ValueError."""
    section, found = "", []
    for line in path.read_text().splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line
        elif line and not line.startswith(("#", ";")):
            name, sign, value = line.partition("=")
            if not sign or not section or name != name.strip():
                raise ValueError(line)
            found.append((section, name, value))
    return found


def read_known() -> set[tuple[str, str]]:
    """Section and directive that systemd knows."""
    section, known = "", set()
    for line in KNOWN.read_text().splitlines():
        section = line if line.startswith("[") else section
        known.add((section, line))
    return known


UNIT = read_unit(FOLDER / "pulse.service")
SERVICE = {name: value for section, name, value in UNIT if section == "[Service]"}


def test_systemd_knows_every_directive_in_its_section() -> None:
    assert {(section, name) for section, name, _ in UNIT} <= read_known()
    assert ("[Service]", "ExecStrat") not in read_known()


def test_no_value_is_followed_by_a_comment() -> None:
    assert not [value for _, _, value in UNIT if " #" in value]  # systemd would take it as part of the value


def test_it_serves_everything_as_its_own_user_and_has_time_to_stop() -> None:
    program, *arguments = SERVICE["ExecStart"].split()
    assert program.endswith("/bin/pulse")
    assert arguments == ["serve"]
    assert read_roles(arguments) == set()
    assert SERVICE["User"] == "pulse"
    assert (FOLDER / "pulse.sysusers").read_text().splitlines()[-1].split()[:2] == ["u", "pulse"]
    assert int(SERVICE["TimeoutStopSec"]) > STOP_SECONDS


def test_it_may_write_to_its_own_folder_alone() -> None:
    assert HARDENED.items() <= SERVICE.items()
    assert SERVICE["Environment"].split()[0] == f"PULSE_DATA=/var/lib/{SERVICE['StateDirectory']}"


def test_its_settings_exist() -> None:
    named = find_settings("".join((FOLDER / name).read_text() for name in ("pulse.service", "pulse.env")))
    assert named <= SETTINGS
