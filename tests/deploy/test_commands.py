"""The table of commands says where each one is, so that only that is loaded."""

from __future__ import annotations

import pytest
import typer.main
from typer.core import TyperGroup

from deploy.commands import GROUPS, make_app

COMMANDS = [command for group in GROUPS for command in group.commands]


def read_commands(wanted: str) -> list[str]:
    group = typer.main.get_command(make_app(wanted))
    assert isinstance(group, TyperGroup)
    return list(group.commands)


def test_the_table_names_every_command_once() -> None:
    assert sorted(read_commands("")) == sorted(COMMANDS)
    assert len(set(COMMANDS)) == len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_found_without_loading_the_others(command: str) -> None:
    assert command in read_commands(command)
