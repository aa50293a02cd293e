"""Settings, read from the environment (`FHIR_…`) by pydantic-settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import DirectoryPath, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

VERSION = "0.1.0"
FHIR_VERSION = "4.0.1"
# The root of the checkout or of the installed data: profiles/, mappings/, terminology/, capability_statement.json.
_CHECKOUT = Path(__file__).resolve().parent.parent
_INSTALLED = Path(__file__).resolve().parent / "data"
DATA_ROOT = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


class Settings(BaseSettings):
    """Each field is one environment variable: `port` is `FHIR_PORT`."""

    model_config = SettingsConfigDict(env_prefix="FHIR_", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on; only loopback unless FHIR_OPEN=yes")
    port: int = Field(8080, ge=0, le=65535, description="TCP port to listen on")
    base_url: str | None = Field(None, description="URL that clients use, when a proxy stands in front")
    tls_certificate: Path | None = Field(
        None, description="PEM file of the server's certificate chain; set: TLS without a proxy in front"
    )
    tls_key: Path | None = Field(None, description="PEM file of its key, where the certificate's file does not hold it")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of the authority whose client certificates are let in; nobody else is then"
    )
    open: bool = Field(
        False,
        description="yes: serve other addresses than loopback although nobody is asked who they are",
    )
    workers: int = Field(1, ge=1, le=64, description="server processes")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line written")
    data_dir: Path = Field(Path("data"), description="folder of the embedded MongoDB and of generated samples")
    mongodb_uri: str | None = Field(None, description="your own MongoDB replica set; unset: the embedded one")
    mongodb_database: str = Field("fhir", description="database name")
    mongodb_cache_mb: int | None = Field(
        None,
        ge=256,
        description="WiredTiger cache of the embedded MongoDB, MiB; unset: a quarter of the memory, at least 1024",
    )
    zone: str = Field(
        "+07:00",
        pattern=r"^(Z|UTC|[+-]\d\d:\d\d)$",
        description="time zone of values and searches without one",
    )
    guide: Literal["moh", "vn-core", "both", "vn-basic"] = Field(
        "moh",
        description="whose profiles (meta.profile), identifier systems and extensions mapped records carry",
    )
    restricted_tables: str = Field(
        "",
        pattern=r"^(hiv|tb|hiv,tb|tb,hiv)?$",
        description="tables of insurance dossiers that are taken in only when named here: hiv (XML6), tb (XML15)",
    )
    mappings: Path | None = Field(
        None, description="folder of further record formats, one folder each with its mapping.json; unset: none"
    )
    trusted_certificates: DirectoryPath | None = Field(
        None,
        description="folder of certificates (PEM) of the authorities, or signers, whose signatures on files of "
        "records are trusted, and of lists of revoked ones (.crl); unset: a signature is verified, and who signed is "
        "not looked at",
    )
    handling: Literal["lenient", "strict"] = Field(
        "lenient",
        description="unknown search parameters when a request has no Prefer: handling",
    )
    page_size: int = Field(20, ge=1, le=1000, description="entries a page when _count is absent")
    page_limit: int = Field(1000, ge=1, le=10000, description="most entries a page")
    body_limit_mb: int = Field(64, ge=1, le=1024, description="largest request body, MiB")
    include_limit: int = Field(10_000, ge=1, description="most resources that _include and _revinclude add to a page")
    search_seconds: float = Field(
        20.0,
        gt=0,
        description="time limit of each database query of a search, seconds; after it no further one is asked",
    )
    search_work: int = Field(
        2_000_000,
        ge=1000,
        description="work limit of a search: most stored documents that its joins, its full text, its sort, its total, "
        "and a page that takes over a second may examine; ten times as many for a total that an index alone tells",
    )
    unindexed_search: Literal["answer", "refuse"] = Field(
        "answer",
        description="a search by nothing but :not, :not-in, :missing=true, :contains, ne, _text or _content, which no "
        "index answers: answer it within the limits of time and work, or refuse it",
    )
    bundle_limit: int = Field(25_000, ge=1, description="most entries of a batch or transaction")
    transaction_seconds: float = Field(55.0, gt=0, description="time limit of a transaction, seconds")
    update_create: bool = Field(True, description="PUT to an unused id creates the resource")
    validation: Literal["refuse", "report"] = Field(
        "refuse",
        description="what base R4 validation does with a faulty resource: refuse it, or store it and log the faults "
        "(for taking over the content of another server)",
    )
    profile_faults: str = Field(
        "error, http://fhir.ehealth.gov.vn/core/*=warning, http://fhir.hl7.org.vn/core/*=warning",
        pattern=r"^(error|warning|off)(\s*,\s*[^\s,]+=(error|warning|off))*$",
        description="what a fault against a profile that meta.profile claims is: error refuses the resource, warning "
        "tells it, off does not look; then the same for single profiles as URL=error, with * for all that begin so",
    )
    body_seconds: float = Field(
        30.0,
        gt=0,
        description="time that a request may take to arrive, seconds; one more for every 16 KiB that have come",
    )
    cors_origins: str = Field(
        "",
        description="web origins whose pages may call this server, separated by commas; * is any; empty is none",
    )
    issuers: Path | None = Field(
        None, description="JSON file of the OAuth 2 authorization servers whose access tokens are accepted"
    )
    clients: bool = Field(
        False,
        description="registered clients get access tokens here, at /token (SMART Backend Services)",
    )
    token_skew: float = Field(30.0, ge=0, le=300, description="seconds by which clocks of token issuers may differ")
    trusted_proxies: str = Field(
        "",
        description="addresses or networks of proxies whose headers on the client are believed, separated by commas",
    )
    certificate_header: str = Field(
        "client-cert",
        pattern=r"^[a-z0-9-]{1,64}$",
        description="header in which a trusted proxy gives the client certificate (RFC 9440, or PEM with URL escapes)",
    )
    pace: float = Field(
        0.0, ge=0, description="requests a second that one client may go on making, entries of a batch too; 0: no limit"
    )
    export_quota: int = Field(
        0,
        ge=0,
        description="people whose records one client may take away in a day by $records-changed and $record; "
        "0: no limit",
    )
    adult_age: int = Field(
        18, ge=7, le=30, description="age up to which a representative acts for a child; from 7 on the child does, too"
    )
    restricted: str = Field(
        "conf/R, sens/HIV, sens/PSY",
        description="scopes of the classes of sensitive resources that only callers with the scope may see; after a "
        "change run `fhir-server migrate`",
    )
    ward_index: bool = Field(
        False,
        description="also index records by the ward of residence, for searches of ward officers; it is built at the "
        "next start",
    )
    publish_terminology: bool = Field(
        True,
        description="store the shipped code systems, value sets, maps, naming systems and profiles as resources when "
        "the server starts, so that they can be read and searched",
    )
    conditional_delete: Literal["single", "multiple"] = Field(
        "single",
        description="a conditional delete that matches several resources: refuse it, or delete them all",
    )
    check_references: bool = Field(
        False,
        description="refuse a reference to nothing on write, and a delete that would leave one",
    )
    record_checks: Literal["warn", "refuse", "off"] = Field(
        "warn",
        description="what the receivers' checks of a record (required fields, lengths, order of dates) do: warn, "
        "refuse the record, or nothing",
    )
    audit: Literal["off", "normal", "strict"] = Field(
        "normal",
        description="the record of every access: written within a second (normal) or before the answer (strict)",
    )
    provenance: Literal["citizens", "all"] = Field(
        "citizens",
        description="whose writes get a Provenance with agent and source: those of citizens, or all; imports always do",
    )
    audit_years: int = Field(5, ge=1, description="years for which the record of accesses is kept")

    number_changes: bool = Field(
        True,
        description="yes: number every change in the order of commits, for $records-changed and records export --since",
    )
    record_validation: Literal["base", "profiles"] = Field(
        "profiles",
        description="what imported records are held against: base R4, or also the profiles that they claim",
    )
    keep_files: bool = Field(
        False,
        description="yes: keep every received file byte for byte, as Binary and DocumentReference, restricted",
    )
    gateway_accounts: Path | None = Field(
        None,
        description="file of the accounts that may send personal health records as to a provincial gateway; unset: "
        "there is no gateway",
    )
    gateway_pace: int = Field(600, ge=1, description="messages a minute that an account of the gateway may send")

    @property
    def asks_who(self) -> bool:
        """False in open mode, in which everyone who reaches the server may do everything."""
        return self.clients or self.issuers is not None

    @property
    def own_url(self) -> str:
        """Where this server itself listens, without a path."""
        scheme = "http" if self.tls_certificate is None else "https"
        return f"{scheme}://{self.host}:{self.port}"

    @property
    def restricted_classes(self) -> list[str]:
        return [name.strip() for name in self.restricted.split(",") if name.strip()]
