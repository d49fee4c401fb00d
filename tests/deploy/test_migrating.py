"""`pulse migrate` makes ready whatever is a server, beside parts that are embedded, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.product import Product

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer


def test_a_topic_is_made_where_only_the_log_is_on_servers(tmp_path: Path, kafka_server: KafkaServer) -> None:
    product = Product(tmp_path, {"LOG_URL": f"kafka://{kafka_server.address}/only_the_log?partitions=2"}, port=1)
    made = cast("list[str]", product.run_json("migrate")["done"])
    assert [line.partition(":")[0] for line in made] == ["log"] * len(made)
    assert made[0].startswith("log: made the topic only_the_log: 2 partitions")
    assert "the topic only_the_log is there" in product.run("migrate").stdout
    assert not {"control.db", "warehouse"} & {path.name for path in (tmp_path / "data").iterdir()}


def test_an_installation_without_servers_needs_none_of_it(tmp_path: Path) -> None:
    product = Product(tmp_path, port=1)
    assert product.run_json("migrate") == {"done": []}
    assert "run `pulse serve`" in product.run("migrate").stdout


def test_a_wrong_warehouse_is_told_before_anything_is_made(tmp_path: Path) -> None:
    settings = {"LOG_URL": "kafka://127.0.0.1:1/pulse", "WAREHOUSE_URL": "foo://h/db"}
    done = Product(tmp_path, settings, port=1).run("migrate", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("pulse: PULSE_WAREHOUSE_URL: ")
