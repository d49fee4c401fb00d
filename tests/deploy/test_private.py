"""Each process works in an empty folder of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from deploy.private import prepare_data_folder, working_in_private_folder
from deploy.terminal import CommandError
from schemas.warehouse import room
from tests.deploy.sending import add_up, send, wait_for
from tests.product import Product


def test_a_folder_that_is_worked_in_stays_and_those_of_the_dead_go(tmp_path: Path) -> None:
    (tmp_path / "run-8000").mkdir()
    (tmp_path / "run-8000" / "left-by-a-crash").touch()
    with working_in_private_folder(tmp_path):
        first = Path.cwd()
        assert list(tmp_path.iterdir()) == [first]
        with working_in_private_folder(tmp_path):
            assert Path(tempfile.gettempdir()) == Path.cwd() != first
        assert Path.cwd() == first
    assert list(tmp_path.iterdir()) == []


def test_a_second_server_is_told_of_the_first_and_does_it_no_harm(tmp_path: Path) -> None:
    with Product(tmp_path) as product:
        site = product.run_json("site", "create", "--domain", "a.example")
        key = str(product.run_json("key", "create", "--scope", "ingest")["key"])
        second = product.run("serve", check=False)
        assert (second.returncode, f"served by process {product.pid}" in second.stderr) == (1, True)
        send(product, key, {"site_key": site["site_key"], "url": "https://a.example/"})
        wait_for(lambda: add_up(product)["stored"] == 1)
        assert "getcwd" not in product.read_log()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with Product(tmp_path / "first") as first:
        second = Product(tmp_path / "second", port=first.port).run("serve", check=False)
    assert second.returncode == 1
    said = second.stderr.strip().splitlines()[-1]
    assert "Address already in use" in said
    assert "PULSE_LISTEN" in said
    assert "Traceback" not in second.stderr
    assert "error" not in second.stderr.lower()


def test_a_data_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    done = Product(tmp_path, port=1).run("serve", check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "PULSE_DATA" in done.stderr


@pytest.mark.parametrize("command", ["ledger", "dead-letters list"])
def test_a_command_without_a_server_reads_nothing_of_the_folder_it_is_called_in(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.xml").write_text("<broken")
    monkeypatch.chdir(tmp_path)
    assert Product(tmp_path, port=1).run(*command.split()).stderr == ""


def test_a_full_disk_is_told_before_anything_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT_FREE", 1 << 60)
    with pytest.raises(CommandError, match=f"the disk of {tmp_path}/new has .* MiB free; .* must stay free: make room"):
        prepare_data_folder(tmp_path / "new")
