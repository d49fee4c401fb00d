"""Every setting of Pulse; the only place that reads the environment. The README's table is compared with this model."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def split_list(value: object) -> object:
    """'a, b' is two items; anything but text passes."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def refuse_no_address(value: str) -> str:
    """Raise ValueError unless it is host:port; an IPv6 host stands in brackets."""
    host, colon, port = value.rpartition(":")
    if not host or not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port
        message = "write host:port, for example 127.0.0.1:8000 or [::1]:8000"
        raise ValueError(message)
    return value


def to_absolute(value: str) -> str:
    """A path that stays the same when the process changes its folder; empty and `off` stay as they are."""
    return value if value in {"", "off"} else str(Path(value).resolve())


def to_folder(value: Path) -> Path:
    """The absolute folder; raise ValueError for one that the warehouse's engine would cut at a question mark."""
    folder = value.resolve()
    if "?" in str(folder):
        message = f"{folder}: the path of the data folder may not hold a question mark"
        raise ValueError(message)
    return folder


def to_network(value: object) -> object:
    """A network, or an address as the network of it alone; raise ValueError with one clear line for anything else."""
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError:
        message = f"{value!r} is no network: {_to_network_advice(value)}"
        raise ValueError(message) from None


def _to_network_advice(text: str) -> str:
    """The network that a text with host bits may mean, else an example."""
    try:
        return f"write {ip_network(text, strict=False)}, or one address alone"
    except ValueError:
        return "write for example 10.0.0.0/8, 192.0.2.7 or fd00::/8, with commas between several"


def read_url_file(values: dict[str, object], name: str) -> str:
    """The URL in the file that stands in for a setting; raise ValueError where that cannot be."""
    path = Path(str(values[f"{name}_file"]))
    if values.get(name):
        message = f"PULSE_{name.upper()} and PULSE_{name.upper()}_FILE are both set: unset one"
        raise ValueError(message)
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"PULSE_{name.upper()}_FILE: {path} cannot be read: {error}"
        raise ValueError(message) from error


URLS = ("log_url", "warehouse_url", "control_url", "limits_url")
GeoPath = Annotated[str, AfterValidator(to_absolute)]
Listen = Annotated[str, AfterValidator(refuse_no_address)]
Folder = Annotated[Path, AfterValidator(to_folder)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(to_network)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split_list)]


class Settings(BaseSettings):
    """Read from PULSE_… variables; all problems are reported at once as one ValidationError."""

    model_config = SettingsConfigDict(env_prefix="PULSE_", extra="ignore", frozen=True)

    listen: Listen = Field("127.0.0.1:8000", description="Address and port to serve on")
    data: Folder = Field(Path("./data"), validate_default=True, description="Folder of the embedded parts")
    log_url: str = Field("", description="The event log; default `sqlite:///{data}/log.db`")
    warehouse_url: str = Field("", description="The warehouse; default `chdb:///{data}/warehouse`")
    control_url: str = Field("", description="The control plane; default `sqlite:///{data}/control.db`")
    limits_url: str = Field("memory://", description="Where request limits are counted")
    log_url_file: str = Field("", description="File that holds `PULSE_LOG_URL`, for secrets; default none")
    warehouse_url_file: str = Field("", description="File that holds `PULSE_WAREHOUSE_URL`; default none")
    control_url_file: str = Field("", description="File that holds `PULSE_CONTROL_URL`; default none")
    limits_url_file: str = Field("", description="File that holds `PULSE_LIMITS_URL`; default none")
    member: str = Field(
        "",
        pattern="^[A-Za-z0-9._-]{0,200}$",
        description="Name of this consumer among those of the log, the same after a restart; default host-port",
    )
    collect_limit: int = Field(0, ge=0, description="Events a second per site, 0 is none")
    collect_address_limit: int = Field(100, ge=0, description="Records a second per client address, 0 is none")
    trusted_proxies: Networks = Field((), description="Networks whose `X-Forwarded-For` is believed, with commas")
    metrics_from: Networks = Field((), description="Networks besides this machine that may read `/metrics`")
    plan: Literal["free", "pro", "enterprise"] = Field("pro", description="Plan of an organisation made without one")
    geo: GeoPath = Field("", description="MMDB file or folder, or `off`; default `{data}/geo`")
    log_budget: int = Field(10 * 1024**3, ge=2**20, description="Bytes the event log may take on disk")
    warehouse_budget: int = Field(
        0,
        ge=0,
        description="Bytes the warehouse may take, what it merged lately included; 0 is all but 1 GiB of the disk",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")

    @model_validator(mode="before")
    @classmethod
    def read_files(cls, values: dict[str, object]) -> dict[str, object]:
        """Put the URLs that stand in files in their place; raise ValueError for a file that cannot be read."""
        return values | {name: read_url_file(values, name) for name in URLS if values.get(f"{name}_file")}

    @property
    def is_scaled(self) -> bool:
        """Whether log and warehouse are servers, so that any number of processes may have any role."""
        return self.log.startswith("kafka://") and self.warehouse.startswith("clickhouse://")

    @property
    def member_name(self) -> str:
        """What this process is called among the consumers of its log."""
        port = self.listen.rpartition(":")[2]
        return self.member or re.sub(r"[^A-Za-z0-9._-]", "-", f"{socket.gethostname()}-{port}")

    @property
    def geo_path(self) -> Path | None:
        """Where places come from, a file or a folder; None is switched off."""
        if self.geo == "off":
            return None
        return Path(self.geo) if self.geo else self.data / "geo"

    @property
    def log(self) -> str:
        """URL of the event log with its default."""
        return self.log_url or f"sqlite:///{self.data}/log.db"

    @property
    def warehouse(self) -> str:
        """URL of the warehouse with its default."""
        return self.warehouse_url or f"chdb:///{self.data}/warehouse"

    @property
    def control(self) -> str:
        """URL of the control plane with its default."""
        return self.control_url or f"sqlite:///{quote(str(self.data))}/control.db"  # it is read as a URL, %xx and all
