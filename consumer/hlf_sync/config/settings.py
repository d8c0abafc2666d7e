"""The settings: what each is, its default, and what it may be. `loading` reads them. A new setting
is a field here.

A wrong or missing one is a `SettingsError` that names the variable, what is wrong, and an example.
docs/settings.md is generated from here.
"""

from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)

from hlf_sync.config.env_file import sandbox_here
from hlf_sync.config.kafka_options import KafkaOptions, parse
from hlf_sync.config.secret_file import SecretFile
from hlf_sync.errors import SettingsError
from hlf_sync.postgres.dsn import is_dsn

PREFIX = "HLF_SYNC_"

# RFC 7518, 3.2: HS256 wants a key as long as its hash.
_SHORTEST_KEY_BYTES = 32

# Abbreviations for PostgreSQL's AT TIME ZONE, at a fixed distance from UTC, and zones with a summer
# for everybody else (findings/cet_has_no_summer.sh).
_FIXED_FOR_POSTGRESQL = ("CET", "EET", "MET", "WET")
# Files beside the IANA database, which Python takes and PostgreSQL does not know.
_NO_ZONES = ("posix/", "right/", "localtime", "posixrules")

SECRETS = (
    "postgres_dsn",
    "dynamics_client_secret",
    "dynamics_client_certificate_password",
    "schema_registry_password",
    "connect_password",
    "web_jwt_secret",
    "web_postgres_dsn",
    "webhook_url",
)
# What may lie in a file: secrets, and what may hold one.
IN_FILES = (*SECRETS, "kafka_options")

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LeastZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(ge=0, le=1)]

_EXAMPLES = {
    "kafka_bootstrap_servers": "broker-1:9092",
    "kafka_options": '{"security.protocol": "SASL_SSL"}',
    "schema_registry_url": "https://registry.example.org/apis/ccompat/v7",
    "postgres_dsn": "postgresql://hlf_sync@db.example.org/mentors?sslmode=verify-full",
    "connect_url": "https://connect.example.org:8083",
    "dynamics_base_url": "https://contoso.crm.dynamics.com",
    "dynamics_authority": "https://login.microsoftonline.com",
    "dynamics_tenant_id": "00000000-0000-0000-0000-000000000000",
    "dynamics_client_id": "00000000-0000-0000-0000-000000000000",
    "web_jwt_issuer": "https://login.example.org/realms/mentors",
    "web_jwt_audience": "hlf-sync",
    "web_jwks_url": "https://login.example.org/realms/mentors/protocol/openid-connect/certs",
    "webhook_url": "https://hooks.example.org/services/…",
    "web_mentor_url": "https://mentors.example.org/mentors/{mentor_id}",
    "web_allowed_origins": "https://mentors.example.org",
    "web_postgres_dsn": "postgresql://hlf_web@db.example.org/mentors?sslmode=verify-full",
}


class Settings(BaseModel):
    """Every setting, by its name without the prefix, in lower case."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    kafka_bootstrap_servers: str | None = Field(
        None, description="Kafka brokers, host:port, comma-separated"
    )
    kafka_group_id: str = Field("hlf-sync", description="consumer group of the workers")
    kafka_options: KafkaOptions = Field(
        default_factory=lambda: KafkaOptions(dict),
        description="JSON object handed to librdkafka (security, tuning)",
    )
    changes_topic: str = Field("hlf.mentor.changes", description="topic of the changes")
    dead_letters_topic: str = Field(
        "hlf.mentor.dead-letters", description="topic of what could not be delivered"
    )
    reminders_topic: str = Field(
        "hlf.mentor.reminders", description="topic of the reminders before a certificate's end"
    )
    schema_registry_url: str | None = Field(
        None, description="Confluent-compatible root: {url}/schemas/ids/N answers"
    )
    schema_registry_user: str | None = Field(
        None, description="the registry's user, for HTTP Basic (Confluent Cloud: the API key)"
    )
    schema_registry_password: SecretStr | None = Field(
        None, description="the registry user's password"
    )
    schema_registry_ca_file: Path | None = Field(
        None, description="added to the system's trust, for the registry"
    )
    schema_patience_s: Seconds = Field(
        60,
        description=(
            "how long a reachable registry may deny an id before its record is a dead letter"
        ),
    )
    postgres_dsn: SecretStr | None = Field(None, description="PostgreSQL, as the sync role")
    connect_url: str | None = Field(
        None, description="Kafka Connect; only for `connector apply`, `doctor` and monitoring"
    )
    connect_user: str | None = Field(None, description="Kafka Connect's user, for HTTP Basic")
    connect_password: SecretStr | None = Field(None, description="the Connect user's password")
    connect_ca_file: Path | None = Field(
        None, description="added to the system's trust, for Connect"
    )
    connect_source_file: str = Field(
        "/run/secrets/hlf-source.properties",
        description=(
            "file on Connect's machine that names the source database and its password; only for"
            " `connector apply`"
        ),
    )
    dynamics_base_url: str | None = Field(None, description="https://org…, without /api/data")
    dynamics_api_version: str = Field(
        "v9.2", pattern=r"^v\d+\.\d+$", description="Dataverse Web API version"
    )
    dynamics_authority: str = Field(
        "https://login.microsoftonline.com",
        description="scheme and host of the token service, without the tenant",
    )
    dynamics_tenant_id: str | None = Field(None, description="Entra tenant")
    dynamics_client_id: str | None = Field(
        None, description="app registration; with managed identity the user-assigned one's, or none"
    )
    dynamics_client_secret: SecretStr | None = Field(None, description="client secret")
    dynamics_client_certificate_file: Path | None = Field(
        None, description="PFX or PEM with key and certificate, instead of a secret"
    )
    dynamics_client_certificate_password: SecretStr | None = Field(
        None, description="the certificate file's password"
    )
    dynamics_client_secret_ends: date | None = Field(
        None,
        description="day on which the client secret ends, as Entra shows it: for metric and alerts",
    )
    dynamics_federated_token_file: Path | None = Field(
        None,
        description=(
            "file with the token of a workload identity, read anew for each sign-in, instead of a"
            " secret"
        ),
    )
    dynamics_managed_identity: bool = Field(
        default=False,
        description="use the machine's managed identity instead of secret or certificate",
    )
    dynamics_ca_file: Path | None = Field(
        None, description="added to the system's trust, for both hosts"
    )
    dynamics_entity_set: str = Field(
        "contacts", pattern=r"^[A-Za-z_]\w*$", description="entity set of the mentor's record"
    )
    dynamics_visibility_column: str = Field(
        "new_showonwebsite", pattern=r"^[A-Za-z_]\w*$", description="the one column that is written"
    )
    organization: str = Field(
        # the connector cuts the code of a record at 500 characters: a code that was cut is not ours
        "HLF",
        min_length=1,
        max_length=200,
        description="exact match; anything else is another organisation",
    )
    delivery: Literal["live", "shadow"] = Field(
        "live", description="shadow: decide and record, call nothing"
    )
    request_timeout_s: Seconds = Field(10, description="one attempt")
    delivery_deadline_s: Seconds = Field(45, description="all of one delivery's attempts and waits")
    lease_s: Seconds = Field(60, description="must exceed the longest call")
    retry_max_attempts: int = Field(3, ge=1, le=100, description="attempts per delivery")
    retry_base_delay_s: LeastZero = Field(2, description="wait before the second attempt; doubles")
    retry_max_delay_s: LeastZero = Field(16, description="longest wait between attempts")
    retry_jitter_s: LeastZero = Field(0.5, description="random addition to each wait")
    late_effect_s: LeastZero = Field(
        120, description="how long a call whose answer never came may still take effect"
    )
    breaker_failure_threshold: int = Field(
        3, ge=1, description="failures in a row that open the circuit"
    )
    breaker_cool_down_s: Seconds = Field(60, description="from open to half-open")
    pace_requests_per_s: Seconds = Field(18, description="requests per second of the whole fleet")
    pace_burst: int = Field(20, ge=1, description="requests at once of the whole fleet")
    pace_concurrency: int = Field(16, ge=1, description="calls in flight of the whole fleet")
    auth_retry_s: Seconds = Field(30, description="between tries while credentials are refused")
    dead_letter_limit_ratio: Ratio = Field(
        0.5, description="part of the last WINDOW outcomes that may be dead letters; 0 = off"
    )
    dead_letter_limit_window: int = Field(100, ge=1, description="outcomes looked at")
    dead_letter_limit_run: int = Field(
        50, ge=0, description="dead letters in a row that halt; 0 = off"
    )
    mass_removal_ratio: Ratio = Field(
        0.1, description="part of the shown mentors that may be removed within WINDOW_S; 0 = off"
    )
    mass_removal_min: int = Field(
        20, ge=0, description="removals within WINDOW_S that are always allowed"
    )
    mass_removal_window_s: Seconds = Field(600, description="window of the mass change guard")
    http_host: str = Field("127.0.0.1", description="address of /metrics /livez /readyz /status")
    http_port: int = Field(8080, ge=0, le=65535, description="port of the same; 0 = a free one")
    startup_deadline_s: Seconds = Field(
        60, description="how long PostgreSQL, Kafka and the registry may be away at start"
    )
    shutdown_deadline_s: Seconds = Field(20, description="how long a stop may take")
    nightly_at: str = Field(
        "02:30",
        pattern=r"^(off|([01]\d|2[0-3]):[0-5]\d)$",
        description="local time of the nightly work, HH:MM; off = never",
    )
    time_zone: str = Field(
        "Europe/Oslo",
        description=(
            "IANA name, of a place rather than CET, EET, MET, WET; local dates of nights and"
            " reminders"
        ),
    )
    verify_every_s: float = Field(
        3600,
        ge=0,
        allow_inf_nan=False,
        description=(
            "how often the leader reads Dynamics' whole listing and compares it with the ledger;"
            " 0 = never"
        ),
    )
    verify_drift: Literal["mend", "alert"] = Field(
        "mend",
        description=(
            "what follows where Dynamics shows another value than it should: it is delivered anew,"
            " or only told; for the nightly `verify` as well"
        ),
    )
    break_glass_dir: Path | None = Field(
        None, description="where the nightly work leaves the newest break-glass rosters"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe level that is logged"
    )
    tracing: Literal["off", "otlp"] = Field(
        "off",
        description=(
            "otlp: OpenTelemetry traces (docs/tracing.md; needs `hlf-sync[tracing]`), to where"
            " `OTEL_EXPORTER_OTLP_ENDPOINT` says"
        ),
    )

    web_host: str = Field("127.0.0.1", description="address of `hlf-sync web`")
    web_port: int = Field(8090, ge=0, le=65535, description="port of the same; 0 = a free one")
    web_jwt_issuer: str | None = Field(None, description="`iss` of the coordinators' tokens")
    web_jwt_audience: str | None = Field(None, description="`aud` of the coordinators' tokens")
    web_jwks_url: str | None = Field(
        None,
        description=(
            "the issuer's public keys (RS, ES, EdDSA): https, or a file; re-read on an unknown"
            " `kid`, not more often than each 30 s"
        ),
    )
    web_jwt_secret: SecretStr | None = Field(
        None, description="instead: the secret shared with the issuer (HS256), 32 bytes or more"
    )
    web_organization_claim: str = Field(
        "app_metadata.organization",
        min_length=1,
        description=(
            "path of the claim that must equal ORGANIZATION; with `[]` at its end: a list that"
            " contains it; beginning with `/`: a JSON pointer, for names with dots"
        ),
    )
    web_mentor_url: str | None = Field(
        None, description="the application's page of a mentor, with {mentor_id}; none: no link"
    )
    web_allowed_origins: tuple[str, ...] = Field(
        (), description="CORS: exact origins, comma-separated"
    )
    web_postgres_dsn: SecretStr | None = Field(None, description="PostgreSQL, as the role hlf_web")

    webhook_url: SecretStr | None = Field(
        None,
        description=(
            "where the leader posts halts, exposure and missed nights, for teams without"
            " Prometheus; none: nowhere"
        ),
    )
    webhook_form: Literal["json", "slack", "teams"] = Field(
        "json", description="how: plain JSON, a Slack message, a Teams card"
    )

    _files: dict[str, SecretFile] = PrivateAttr(default_factory=dict)
    _otel: dict[str, str] = PrivateAttr(default_factory=dict)
    # Whether an env file was read: then a sandbox that lies here is not what is missing.
    _has_file: bool = PrivateAttr(default=False)

    @field_validator("kafka_options", mode="before")
    @classmethod
    def _parse_options(cls, value: object) -> object:
        if isinstance(value, SecretFile):
            file = value
            return KafkaOptions(lambda: parse(file.read()) or {})
        found = parse(value) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            message = "is not JSON object"
            raise ValueError(message)  # noqa: TRY004 - pydantic expects ValueError
        return found if isinstance(found, KafkaOptions) else KafkaOptions(lambda: found)

    @field_serializer("kafka_options")
    def _hide_options(self, value: KafkaOptions) -> str:
        return repr(value)

    @field_validator("log_level", "delivery", "tracing", "webhook_form", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("dynamics_base_url", "dynamics_authority")
    @classmethod
    def _require_https(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname:
            message = "must be an https:// address"
            raise ValueError(message)
        if parts.path.rstrip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            message = "must be scheme and host only"
            raise ValueError(message)
        return value.rstrip("/")

    @field_validator(*SECRETS)
    @classmethod
    def _require_content(cls, value: SecretStr | None) -> SecretStr | None:
        """R23: a secret cannot be null, and a blank one is a mistake that would look like a refusal
        later.
        """
        if value is not None and not value.get_secret_value().strip():
            message = "is empty"
            raise ValueError(message)
        return value

    @field_validator("postgres_dsn", "web_postgres_dsn")
    @classmethod
    def _require_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_dsn(value.get_secret_value()):
            message = "is not a connection string"
            raise ValueError(message)
        return value

    @field_validator("schema_registry_url", "connect_url")
    @classmethod
    def _require_http(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname
        ):
            message = "must be an http:// or https:// address"
            raise ValueError(message)
        if value is not None and "@" in urlsplit(value).netloc:
            message = (
                "must not hold user and password, which would be shown; they have settings of their"
                " own (…_USER, …_PASSWORD)"
            )
            raise ValueError(message)
        return value and value.rstrip("/")

    @field_validator("web_jwks_url")
    @classmethod
    def _require_key_source(cls, value: str | None) -> str | None:
        """Keys that came over an open wire are anybody's keys; a file or this machine is
        safe.
        """
        if value is None or "://" not in value:
            return value
        parts = urlsplit(value)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
        )
        if not is_safe or not parts.hostname or "@" in parts.netloc:
            message = "must be an https:// address (http:// on this machine only) or a file"
            raise ValueError(message)
        return value

    @field_validator("web_jwt_secret")
    @classmethod
    def _require_length(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < _SHORTEST_KEY_BYTES:
            message = "is shorter than 32 bytes, so that it can be guessed"
            raise ValueError(message)
        return value

    @field_validator("web_mentor_url")
    @classmethod
    def _require_place(cls, value: str | None) -> str | None:
        if value is not None and (
            urlsplit(value).scheme not in {"http", "https"}
            or value.count("{mentor_id}") != 1
            or value.count("{") != 1
        ):
            message = "must be an http(s):// address that contains {mentor_id} once"
            raise ValueError(message)
        return value

    @field_validator("web_allowed_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = tuple(one.strip() for one in value.split(",") if one.strip())
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or f"{parts.scheme}://{parts.netloc}" != origin
            ):
                message = f"{origin!r} is not an origin (scheme, host and port, without a path)"
                raise ValueError(message)
        return origins

    @model_validator(mode="after")
    def _one_key_source(self) -> Self:
        if self.web_jwks_url is not None and self.web_jwt_secret is not None:
            message = (
                f"{PREFIX}WEB_JWKS_URL and {PREFIX}WEB_JWT_SECRET exclude each other: a public key"
                " must never be taken for a secret"
            )
            raise ValueError(message)
        return self

    @field_validator("time_zone")
    @classmethod
    def _require_zone(cls, value: str) -> str:
        if value in _FIXED_FOR_POSTGRESQL:
            message = "is another clock for PostgreSQL in summer: name a place, such as Europe/Oslo"
            raise ValueError(message)
        message = "is not a time zone of the IANA database"
        if value.startswith(_NO_ZONES):
            raise ValueError(message)
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(message) from None
        return value

    @model_validator(mode="after")
    def _compare(self) -> Self:
        if self.lease_s <= self.request_timeout_s:
            message = (
                f"{PREFIX}LEASE_S must exceed {PREFIX}REQUEST_TIMEOUT_S"
                f" ({self.request_timeout_s:g})"
            )
            raise ValueError(message)
        for part in ("schema_registry", "connect"):
            if (getattr(self, f"{part}_user") is None) != (
                getattr(self, f"{part}_password") is None
            ):
                message = (
                    f"{variable(part)}_USER and {variable(part)}_PASSWORD belong together: one of"
                    " them is not set"
                )
                raise ValueError(message)
        return self

    def secret(self, name: str) -> str:
        """A secret as it is now: from its file, which may have been replaced, where it has one;
        empty when it is not set. Ask for it at each use.
        """
        if name in self._files:
            return self._files[name].read()
        value: SecretStr | None = getattr(self, name)
        return value.get_secret_value() if value else ""

    @property
    def nightly_time(self) -> time | None:
        """Local time of the nightly work; None when it is off."""
        return None if self.nightly_at == "off" else time.fromisoformat(self.nightly_at)

    @property
    def otel(self) -> dict[str, str]:
        """What the env file says to OpenTelemetry itself; may hold secrets
        (OTEL_EXPORTER_OTLP_HEADERS).
        """
        return self._otel

    def require(self, *names: str) -> None:
        """Raise `SettingsError` for all of these settings that are missing, a line each."""
        lines = [missing(name) for name in names if getattr(self, name) in {None, ""}]
        if lines:
            raise SettingsError("\n".join([*lines, *([] if self._has_file else sandbox_here())]))

    def require_web(self) -> None:
        """Raise `SettingsError` unless the web service can tell who calls, and read."""
        keys = () if self.web_jwt_secret is not None else ("web_jwks_url",)
        self.require("web_postgres_dsn", "web_jwt_issuer", "web_jwt_audience", *keys)

    def require_credentials(self) -> None:
        """Raise `SettingsError` unless there is a way to sign in at Dynamics."""
        self.require(*self.credential_names)

    @property
    def credential_names(self) -> tuple[str, ...]:
        """The settings that a sign-in at Dynamics needs, for `require`: so that all that is missing
        is said at once.
        """
        if self.dynamics_managed_identity:
            return ()
        application = ("dynamics_tenant_id", "dynamics_client_id")
        files = (self.dynamics_client_certificate_file, self.dynamics_federated_token_file)
        return application if any(files) else (*application, "dynamics_client_secret")

    def is_given(self, name: str) -> bool:
        """Whether somebody has set it: what is left to its default may give way."""
        return name in self.model_fields_set


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def describe(name: str) -> str:
    """What a setting is for."""
    return Settings.model_fields[name].description or ""


def missing(name: str) -> str:
    """What is said of one that must be set, and is not."""
    return f"{variable(name)} is not set: {describe(name)}{example_of(name)}"


def example_of(name: str) -> str:
    """How one may look, for a message; empty where nothing helps."""
    field: Any = Settings.model_fields[name]
    example = _EXAMPLES.get(name) or (None if field.default is None else field.default)
    return "" if example in {None, ""} else f" (example: {variable(name)}='{example}')"
