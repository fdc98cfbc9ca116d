"""Every setting of the node, in one frozen table: a TOML file, and the same keys as environment variables."""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dicom_node.access import Role
from dicom_node.destination import Commitment, Compression, Destination
from dicom_node.errors import ConfigurationError
from dicom_node.peers import Peer, Tls, parse_ae_title
from dicom_node.setting_errors import known, wrong_value
from dicom_node.setting_types import (
    STAT_ATTRIBUTES,
    CallerList,
    DestinationList,
    KeywordList,
    NetworkList,
    RoleList,
    SecretUrlList,
    TitleList,
    ViewerUrl,
    WebPath,
    WordList,
)
from dicom_node.site_file import read_site_file, read_toml, site_file

PREFIX: Final = "COVIDXNET_"
CONFIG_VARIABLE: Final = PREFIX + "CONFIG"
FILE_SUFFIX: Final = "_FILE"
"""COVIDXNET_DATABASE_URL_FILE names a file with the value of database_url; so does each other key with this ending."""
DEFAULT_FILE: Final = Path("covid-xnet.toml")


class DuplicatePolicy(StrEnum):
    """What happens to other content under a SOP Instance UID that is being or was read."""

    KEEP_FIRST = "keep-first"
    REFUSE = "refuse"
    READ_AGAIN = "read-again"


class LogFormat(StrEnum):
    """How log events are written to standard error."""

    KEY_VALUE = "key-value"
    JSON = "json"


class Settings(BaseSettings):
    """The node's configuration. Keys in the TOML file are lower case, in the environment COVIDXNET_ and upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, case_sensitive=False)

    ae_title: Annotated[str, BeforeValidator(parse_ae_title)] = Field(
        default="COVIDXNET", description="Application entity title of the node."
    )
    host: str = Field(
        default="127.0.0.1",
        description='Address that the listener binds. Set "0.0.0.0" to let other machines send to the node.',
    )
    port: int = Field(default=11112, ge=0, le=65535, description="TCP port of the listener; 0: any that is free.")
    data_dir: Path = Field(default=Path("covid-xnet-data"), description="Folder of spool, results and database.")
    destinations: DestinationList = Field(
        default=(),
        description='Where results go, each "AET@host:port", such as ["PACS@10.1.2.3:104"], or a table that says what '
        'it gets, such as [{peer="PACS@10.1.2.3:104", objects=["report", "segmentation"]}].',
    )
    shadow_until_commissioned: bool = Field(
        default=False,
        description="Whether radiographs of a sender that is not switched on are read in shadow: recorded, and nothing "
        "sent. `covid-xnet commission` switches senders on, and `covid-xnet commission on AE`.",
    )
    report_failures: bool = Field(
        default=False,
        description="Whether an image that could not be read brings a report that says so and why.",
    )
    calling_aes: CallerList = Field(
        default=(),
        description='AE titles that may send to the node, each "AET", or "AET@10.1.2.3" or "AET@10.1.2.0/24" where '
        "it is bound to an address. Empty: everybody who calls it by its AE title.",
    )
    tls_certificate: str = Field(
        default="",
        description="PEM file of the node's certificate and its chain. With it the listener speaks TLS alone.",
    )
    tls_key: str = Field(default="", description="PEM file of the private key of tls_certificate, without a password.")
    tls_ca: str = Field(
        default="",
        description="PEM file of the authorities of peers' certificates. With it who calls the listener must show one, "
        "and so must destinations with tls; without it, authorities that the system trusts are enough for these.",
    )
    tls_check_host: bool = Field(
        default=True, description="Whether the certificate of a destination must name the host that it is called by."
    )
    stat_aes: TitleList = Field(default=(), description="AE titles of senders whose radiographs are all STAT.")
    stat_by_priority: bool = Field(
        default=True, description="Whether a C-STORE request with priority HIGH makes a radiograph STAT."
    )
    stat_attributes: KeywordList = Field(
        default=STAT_ATTRIBUTES,
        description="DICOM keywords of attributes in which one of stat_words makes a radiograph STAT.",
    )
    stat_words: WordList = Field(
        default=("STAT", "HIGH"), description="Words of stat_attributes, in small or capital letters."
    )
    stat_advance_minutes: float = Field(
        default=60.0,
        ge=0,
        le=10_080,
        description="A STAT radiograph overtakes the routine ones that came up to so many minutes before it; what "
        "waits longer is overtaken no more.",
    )
    duplicate_policy: DuplicatePolicy = Field(
        default=DuplicatePolicy.KEEP_FIRST,
        description='Other content under a SOP Instance UID that was read: "keep-first" keeps it beside the first '
        'without reading it, "refuse" answers 0x0111, "read-again" makes a second reading.',
    )
    workers: int = Field(
        default=len(os.sched_getaffinity(0)), ge=1, le=256, description="Reading processes; one per core is best."
    )
    database_url: str = Field(default="", description="SQLAlchemy URL of ledger and queue. Empty: SQLite in data_dir.")
    weights_dir: str = Field(
        default="", description="Folder of networks of your own, with their manifest.json. Empty: the shipped ones."
    )
    shadow_weights_dir: str = Field(
        default="", description="Folder of second networks, which read beside the first and send nothing. Empty: none."
    )
    log_format: LogFormat = Field(default=LogFormat.KEY_VALUE, description='"key-value" or "json".')
    read_for_processing: bool = Field(
        default=False, description="Whether to read DX for processing, too, which most viewers never show."
    )
    minimum_side: int = Field(
        default=128, ge=16, description="Pixels of the shorter side below which an image is not read."
    )
    maximum_megapixels: float = Field(
        default=64.0,
        gt=0,
        description="Rows x Columns, in millions, above which an image is refused before it is decoded.",
    )
    maximum_object_megabytes: float = Field(
        default=512.0,
        gt=0,
        description="Size above which a received object is refused; also bounds what deflated data grow to.",
    )
    minimum_free_megabytes: float = Field(
        default=512.0, ge=0, description="Free disk space under data_dir below which C-STORE is answered 0xA700."
    )
    web_host: str = Field(default="127.0.0.1", description="Address that the dashboard and health are served at.")
    web_port: int = Field(
        default=0, ge=0, le=65535, description="TCP port of the dashboard, health and metrics; 0: none."
    )
    web_root_path: WebPath = Field(
        default="",
        description='Path that a reverse proxy puts before the pages and removes from requests, such as "/covid-xnet".',
    )
    web_proxies: NetworkList = Field(
        default=(),
        description="Addresses or networks of reverse proxies: who they say that calls, and whether by https, is "
        "believed.",
    )
    web_session_hours: float = Field(
        default=10.0, gt=0, le=168, description="Hours after which who signed in has to do so again."
    )
    web_identity_roles: RoleList = Field(
        default=(Role.OPERATOR, Role.ADMIN),
        description='Roles that see who the patient is: some of "viewer", "operator", "admin".',
    )
    web_viewer_url: ViewerUrl = Field(
        default="",
        description='Address of a study in the viewer of the PACS, such as "https://pacs/viewer?study={study}"; '
        "{study}, {object} and {accession} stand for what is looked at. Empty: no link.",
    )
    alert_urls: SecretUrlList = Field(
        default=(),
        description="Whom the returner tells when something is wrong, by webhook, mail or whatever else apprise knows: "
        'such as ["json://10.1.2.9/hook", "mailto://user:password@mail.example.org?to=it@example.org"]. Secret.',
    )
    alert_minutes: float = Field(
        default=15.0,
        gt=0,
        description="What waits to be read or returned for longer, or a destination that is away for longer, is told.",
    )
    alert_failed_percent: float = Field(
        default=10.0, gt=0, le=100, description="Share of the last readings that failed above which it is told."
    )
    alert_reminder_hours: float = Field(
        default=24.0, gt=0, description="Hours after which a trouble that is not over is told again."
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        description="Days after which the files of objects and results are removed, once all about them is closed; "
        "0: never.",
    )
    retention_gigabytes: float = Field(
        default=0.0,
        ge=0,
        description="Size of spool and results above which the oldest files are removed, once all about them is "
        "closed; 0: no limit.",
    )
    maximum_worker_megabytes: int = Field(
        default=1000,
        ge=1,
        description="Memory that a worker may take; a radiograph that needs more is set aside at the second try.",
    )
    maximum_reading_seconds: int = Field(
        default=60,
        ge=1,
        description="Computing time that one radiograph may take; one that needs more is set aside at the second try.",
    )
    maximum_associations: int = Field(
        default=50, ge=1, description="Associations that the listener serves at the same time."
    )
    maximum_associations_per_address: int = Field(
        default=40, ge=1, description="Of these, how many one address may have, unless it is a known peer's."
    )
    reserved_associations: int = Field(
        default=5, ge=0, description="Of these, how many are kept for known peers: calling_aes and destinations."
    )
    network_timeout: float = Field(
        default=30.0,
        gt=0,
        description="Seconds to wait for a peer to connect, to ask for an association, to send one PDU, or to answer.",
    )
    return_attempts: int = Field(
        default=10,
        ge=1,
        description="How often an object is offered to a destination that refuses it, before it is set aside.",
    )
    retry_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Wait after the first failed return or postponed reading; doubles each time, up to a minute.",
    )

    commitment_timeout: float = Field(
        default=120.0,
        gt=0,
        description="Seconds until a destination that took a request for storage commitment is asked again.",
    )

    @field_validator("destinations")
    @classmethod
    def _distinct(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if len({destination.peer for destination in destinations}) != len(destinations):
            raise ValueError("names a destination twice")
        return destinations

    def compression_of(self, destination: str) -> tuple[Compression, ...]:
        """What overlays are offered in to `destination`; none to one that is in the settings no more."""
        known = (other for other in self.destinations if str(other.peer) == destination)
        return next((other.overlay_compression for other in known), ())

    def commitment_of(self, peer: str) -> Commitment:
        """What closes a return to `peer`; results may still be on their way to one that is no destination any more."""
        found = (destination.commitment for destination in self.destinations if str(destination.peer) == peer)
        return next(found, Commitment.AUTO)

    @property
    def tls(self) -> Tls:
        """The files for TLS."""
        return Tls(certificate=self.tls_certificate, key=self.tls_key, ca=self.tls_ca, check_host=self.tls_check_host)

    def tls_to(self, peer: Peer) -> Tls | None:
        """The files for associations with `peer`; None if they are not encrypted."""
        encrypted = any(destination.peer == peer and destination.tls for destination in self.destinations)
        return self.tls if encrypted else None

    @property
    def spool_dir(self) -> Path:
        """Where received objects lie."""
        return self.data_dir / "spool"

    @property
    def audit_dir(self) -> Path:
        """Where the audit trail is written."""
        return self.data_dir / "audit"

    @property
    def results_dir(self) -> Path:
        """Where composed result objects lie."""
        return self.data_dir / "results"

    @property
    def effective_weights_dir(self) -> Path | None:
        """`weights_dir`, or None for the shipped networks."""
        return Path(self.weights_dir) if self.weights_dir else None

    @property
    def effective_database_url(self) -> str:
        """`database_url`, or the SQLite file in `data_dir`."""
        return self.database_url or f"sqlite:///{self.data_dir / 'covid-xnet.sqlite'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which `load_settings` passes as initial values."""
        return env_settings, init_settings


def settings_file(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The TOML file that COVIDXNET_CONFIG names, else ./covid-xnet.toml; None if there is neither."""
    if environment.get(CONFIG_VARIABLE):
        return Path(environment[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    site: Mapping[str, object] | None = None,
) -> Settings:
    """Read the settings: built-in defaults, the TOML file, the site's file in data_dir, the environment; the last wins.

    file: given on the command line; else `settings_file`.
    site: what the site's file shall hold, to try it; None: what it holds.
    Raises ConfigurationError with one line that names the key, what is wrong and what would be right.
    """
    path = file or settings_file(environment)
    values = read_toml(path) if path is not None else {}
    known(values, str(path), "", Settings.model_fields)
    secrets, plain = _named_files(environment)
    known(plain, "environment", PREFIX, Settings.model_fields)
    settings = _build({**values, **secrets}, str(path or "environment"), environment)
    if site is None:
        site = read_site_file(settings.data_dir)
    if not site:
        return settings
    return _build({**values, **site, **secrets}, str(site_file(settings.data_dir)), environment)


def _build(values: Mapping[str, Any], where: str, environment: Mapping[str, str]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as e:
        first = e.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "?"
        from_environment = any(k.upper() == PREFIX + key.upper() for k in environment)
        name = PREFIX + key.upper() if from_environment else key
        raise wrong_value(
            "environment" if from_environment else where, name, key, first, Settings.model_fields
        ) from None


def _named_files(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What stands in the files that COVIDXNET_<KEY>_FILE name, by key; and the names of the other variables."""
    contents: dict[str, Any] = {}
    others = []
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper == CONFIG_VARIABLE:
            continue
        key = upper.removeprefix(PREFIX).removesuffix(FILE_SUFFIX).lower()
        if not upper.endswith(FILE_SUFFIX) or key not in Settings.model_fields:
            others.append(name)
            continue
        try:
            contents[key] = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no text"
            raise ConfigurationError(f"environment: {name}: {value} cannot be read: {why}.") from None
    return contents, others
