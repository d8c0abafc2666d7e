"""Settings: where they come from, what is refused and with which words, and that no secret is ever
shown.
"""

from pathlib import Path

import pytest
from hlf_sync.config.loading import load, secret_file, unknown
from hlf_sync.config.secret_file import read_secret
from hlf_sync.config.settings import PREFIX, SECRETS, Settings, variable
from hlf_sync.errors import SettingsError
from hlf_sync.kafka.lag_reader import LagReader
from hlf_sync.kafka.topic_reader import ChangesLog, kafka_options
from pydantic import ValidationError

SECRET = "s3cr3t-that-nobody-may-see"
TENANT = "00000000-0000-0000-0000-000000000001"
# A password without its user is refused.
USERS = {"schema_registry_user": "hlf", "connect_user": "hlf"}
# A connection string each, and long enough for a key.
FIRST, SECOND, DIRECT = (f"password={word:->32}" for word in ("first", "second", "direct"))


@pytest.fixture(autouse=True)
def _no_env_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `.env` of the developer must not decide."""
    monkeypatch.chdir(tmp_path)


def loaded(**values: str) -> Settings:
    """Settings from an environment of these alone."""
    return load(environ={PREFIX + name: value for name, value in values.items()})


def refused(**values: str) -> str:
    """The message with which these are refused."""
    with pytest.raises(SettingsError) as caught:
        loaded(**values)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__, (
        "pydantic's own error may quote the input"
    )
    return str(caught.value)


def test_nothing_set_gives_the_defaults() -> None:
    """Missing addresses are a command's business."""
    settings = load(environ={})
    assert (settings.kafka_group_id, settings.changes_topic, settings.organization, settings.delivery) == (
        "hlf-sync", "hlf.mentor.changes", "HLF", "live",
    )  # fmt: skip
    assert settings.kafka_bootstrap_servers is None


def test_an_empty_variable_is_not_set() -> None:
    """As compose files and shells write 'no value'."""
    assert loaded(KAFKA_GROUP_ID="", POSTGRES_DSN="").kafka_group_id == "hlf-sync"


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument."""
    monkeypatch.setenv("HLF_SYNC_ORGANIZATION", "XYZ")
    monkeypatch.setenv("HLF_SYNC_ORGANISATION", "XYZ")
    monkeypatch.setenv("HLF_SYNC_POSTGRES_DSN_FILE", "dsn")
    monkeypatch.delenv("HLF_SYNC_POSTGRES_DSN", raising=False)
    assert secret_file("postgres_dsn") == Path("dsn")
    monkeypatch.delenv("HLF_SYNC_POSTGRES_DSN_FILE")
    assert load().organization == "XYZ"
    assert any(line.startswith("HLF_SYNC_ORGANISATION ") for line in unknown())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("REQUEST_TIMEOUT_S", "soon", ("valid number", "'10")),
        ("REQUEST_TIMEOUT_S", "0", ("greater than 0", "'10")),
        ("RETRY_MAX_ATTEMPTS", "0", ("greater than or equal to 1", "'3'")),
        ("RETRY_MAX_ATTEMPTS", "101", ("less than or equal to 100", "'3'")),
        ("HTTP_PORT", "70000", ("65535", "'8080'")),
        ("MASS_REMOVAL_RATIO", "1.5", ("less than or equal to 1", "'0.1'")),
        ("DELIVERY", "dry", ("'live' or 'shadow'", "'live'")),
        ("LOG_LEVEL", "loud", ("'debug'", "'info'")),
        ("DYNAMICS_API_VERSION", "9.2", ("pattern", "'v9.2'")),
        ("DYNAMICS_ENTITY_SET", "contacts/../x", ("pattern", "'contacts'")),
        ("DYNAMICS_VISIBILITY_COLUMN", "a b", ("pattern", "'new_showonwebsite'")),
        ("DYNAMICS_MANAGED_IDENTITY", "perhaps", ("boolean", "")),
        ("KAFKA_OPTIONS", "security.protocol=SSL", ("is not JSON object", "security.protocol")),
        ("KAFKA_OPTIONS", "[1]", ("is not JSON object", "security.protocol")),
        (
            "DYNAMICS_BASE_URL",
            "http://contoso.crm.dynamics.com",
            ("must be an https:// address", "'https://contoso"),
        ),
        (
            "DYNAMICS_BASE_URL",
            "contoso.crm.dynamics.com",
            ("must be an https:// address", "'https://contoso"),
        ),
        ("DYNAMICS_BASE_URL", "https://", ("must be an https:// address", "'https://contoso")),
        (
            "DYNAMICS_BASE_URL",
            "https://contoso.crm.dynamics.com/api/data",
            ("scheme and host only", "'https://contoso"),
        ),
        (
            "DYNAMICS_BASE_URL",
            "https://contoso.crm.dynamics.com?a=1",
            ("scheme and host only", "'https://contoso"),
        ),
        (
            "DYNAMICS_BASE_URL",
            f"https://me:{SECRET}@contoso.crm.dynamics.com",
            ("scheme and host only", "'https://contoso"),
        ),
        (
            "DYNAMICS_AUTHORITY",
            "http://login.example.org",
            ("must be an https:// address", "'https://login"),
        ),
        ("SCHEMA_REGISTRY_URL", "registry:8081", ("http:// or https://", "'https://registry")),
        ("CONNECT_URL", "http://", ("http:// or https://", "'https://connect")),
        (
            "CONNECT_URL",
            f"https://me:{SECRET}@connect:8083",
            ("must not hold user and password", "'https://connect"),
        ),
        (
            "SCHEMA_REGISTRY_URL",
            f"https://me:{SECRET}@registry",
            ("must not hold user and password", "'https://registry"),
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name_with_what_is_wrong_and_an_example(
    name: str, value: str, words: tuple[str, str]
) -> None:
    """And without quoting the value."""
    message = refused(**{name: value})
    assert message.startswith(f"HLF_SYNC_{name}: ")
    assert all(word in message for word in words)
    assert SECRET not in message
    if words[1]:
        assert f"(example: HLF_SYNC_{name}='" in message


@pytest.mark.requirement("R25")
def test_https_is_required_of_dynamics_and_of_the_token_service_only() -> None:
    """Registry and Connect may be plain inside a network; a final slash is dropped."""
    settings = loaded(
        DYNAMICS_BASE_URL="https://contoso.crm.dynamics.com/",
        DYNAMICS_AUTHORITY="https://login.example.org/",
        SCHEMA_REGISTRY_URL="http://registry:8081/apis/ccompat/v7/",
        CONNECT_URL="http://connect:8083/",
    )
    assert settings.dynamics_base_url == "https://contoso.crm.dynamics.com"
    assert settings.dynamics_authority == "https://login.example.org"
    assert settings.schema_registry_url == "http://registry:8081/apis/ccompat/v7"
    assert settings.connect_url == "http://connect:8083"


def test_the_lease_must_exceed_one_attempt() -> None:
    """Else a second worker could call meanwhile."""
    assert (
        refused(LEASE_S="10", REQUEST_TIMEOUT_S="10")
        == "HLF_SYNC_LEASE_S must exceed HLF_SYNC_REQUEST_TIMEOUT_S (10)"
    )
    assert loaded(LEASE_S="10.5", REQUEST_TIMEOUT_S="10").lease_s == 10.5


def test_kafka_options_are_a_json_object() -> None:
    """Handed to librdkafka."""
    assert loaded(KAFKA_OPTIONS='{"security.protocol": "SSL"}').kafka_options == {
        "security.protocol": "SSL"
    }
    assert Settings(kafka_options={"a": 1}).kafka_options == {"a": 1}


def test_words_may_be_written_in_any_case() -> None:
    """INFO is info."""
    settings = loaded(LOG_LEVEL="WARNING", DELIVERY="Shadow")
    assert (settings.log_level, settings.delivery) == ("warning", "shadow")


def test_an_env_file_fills_in_what_the_environment_leaves_open(tmp_path: Path) -> None:
    """Quoted as a shell would, nothing interpolated; the environment rules."""
    file = tmp_path / "hlf.env"
    file.write_text(
        "HLF_SYNC_ORGANIZATION='from $FILE'\nHLF_SYNC_KAFKA_GROUP_ID=file\n",
        encoding="utf-8",
    )
    settings = load(file, {"HLF_SYNC_KAFKA_GROUP_ID": "environment"})
    assert (settings.organization, settings.kafka_group_id) == ("from $FILE", "environment")


def test_dot_env_is_read_when_it_is_there(tmp_path: Path) -> None:
    """Without being named."""
    (tmp_path / ".env").write_text("HLF_SYNC_ORGANIZATION=XYZ\n", encoding="utf-8")
    assert load(environ={}).organization == "XYZ"


def test_an_env_file_that_is_named_must_exist(tmp_path: Path) -> None:
    """A slip in its name must not start with defaults."""
    with pytest.raises(SettingsError, match=r"--env-file .*absent\.env: no such file"):
        load(tmp_path / "absent.env", {})


@pytest.mark.requirement("R23")
@pytest.mark.parametrize("name", SECRETS)
def test_each_secret_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    """Without its final line break; the variable itself rules over the file."""
    file = tmp_path / "secret"
    secret = f"password={SECRET:->32}"  # a connection string too
    file.write_text(secret + "\r\n", encoding="utf-8")
    environ = {variable(name) + "_FILE": str(file)}
    user = name.replace("_password", "_user")
    environ |= {variable(user): USERS[user]} if user in USERS else {}
    assert getattr(load(environ=environ), name).get_secret_value() == secret
    assert secret_file(name, environ=environ) == file
    environ[variable(name)] = DIRECT
    assert getattr(load(environ=environ), name).get_secret_value() == DIRECT
    assert secret_file(name, environ=environ) is None
    assert secret_file(name, environ={}) is None


@pytest.mark.requirement("R23")
def test_a_secret_file_of_the_environment_rules_over_the_secret_of_an_env_file(
    tmp_path: Path,
) -> None:
    """The environment first, in either form; else a rotated file would never be read."""
    (secret := tmp_path / "secret").write_text("rotated", encoding="utf-8")
    (env_file := tmp_path / "hlf.env").write_text(
        "HLF_SYNC_DYNAMICS_CLIENT_SECRET=old\n", encoding="utf-8"
    )
    environ = {"HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE": str(secret)}
    assert load(env_file, environ).secret("dynamics_client_secret") == "rotated"
    assert secret_file("dynamics_client_secret", env_file, environ) == secret


def test_a_secret_file_that_cannot_be_read_is_said_by_name(tmp_path: Path) -> None:
    """The kind of failure, never the content."""
    file = tmp_path / "secret"
    with pytest.raises(
        SettingsError,
        match=r"^HLF_SYNC_POSTGRES_DSN_FILE names a file that cannot be read: there is no such file$",
    ):
        load(environ={"HLF_SYNC_POSTGRES_DSN_FILE": str(file)})
    file.write_bytes(SECRET.encode() + b"\xff")
    with pytest.raises(
        SettingsError, match=r"^X names a file that cannot be read: it is not UTF-8 text$"
    ) as caught:
        read_secret(file, "X")
    assert caught.value.__suppress_context__


@pytest.mark.requirement("R23")
@pytest.mark.parametrize("content", ["", "\n", "\r\n", "  \n"])
def test_an_empty_secret_file_is_refused_by_name(content: str, tmp_path: Path) -> None:
    """A secret cannot be null; a mount that is not there yet looks like this."""
    file = tmp_path / "secret"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(
        SettingsError,
        match=r"^HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE names an empty file: put the secret into it",
    ):
        load(environ={"HLF_SYNC_DYNAMICS_CLIENT_SECRET_FILE": str(file)})


@pytest.mark.requirement("R23")
def test_a_blank_secret_is_refused_wherever_it_comes_from() -> None:
    """It would be sent, and look like a refusal."""
    assert refused(DYNAMICS_CLIENT_SECRET=" ").startswith(
        "HLF_SYNC_DYNAMICS_CLIENT_SECRET: is empty"
    )


@pytest.mark.requirement("R81")
@pytest.mark.parametrize("part", ["SCHEMA_REGISTRY", "CONNECT"])
@pytest.mark.parametrize("name", ["USER", "PASSWORD"])
def test_user_and_password_belong_together(part: str, name: str) -> None:
    """One alone would be sent as no login at all."""
    message = refused(**{f"{part}_{name}": "x"})
    assert (
        message
        == f"HLF_SYNC_{part}_USER and HLF_SYNC_{part}_PASSWORD belong together: one of them is"
        " not set"
    )


@pytest.mark.requirement("R45")
def test_a_secret_is_in_no_text_form_of_the_settings() -> None:
    """Neither repr, str, nor a dump to JSON."""
    settings = Settings.model_validate(USERS | dict.fromkeys(SECRETS, f"password={SECRET}"))
    for text in (
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        str(settings.model_dump()),
    ):
        assert SECRET not in text


@pytest.mark.requirement("R45")
def test_a_secret_is_in_no_message() -> None:
    """Also when something else is wrong, or when it was put into the wrong variable."""
    dsn = f"postgresql://hlf:{SECRET}@db/mentors"
    for wrong in (
        "LEASE_S",
        "KAFKA_OPTIONS",
        "DELIVERY",
        "DYNAMICS_BASE_URL",
        "SCHEMA_REGISTRY_URL",
        "HTTP_PORT",
        "DYNAMICS_API_VERSION",
    ):
        assert SECRET not in refused(
            POSTGRES_DSN=dsn, DYNAMICS_CLIENT_SECRET=SECRET, **{wrong: dsn}
        )
    assert SECRET not in refused(POSTGRES_DSN=dsn, LEASE_S="1")


@pytest.mark.requirement("R45")
def test_pydantics_own_error_quotes_no_value_either() -> None:
    """Settings that a test or a tool builds without `load`."""
    with pytest.raises(ValidationError) as caught:
        Settings(dynamics_base_url=f"http://{SECRET}")
    assert SECRET not in str(caught.value)


def test_a_missing_setting_is_said_with_its_meaning_and_an_example() -> None:
    """By the command that needs it."""
    with pytest.raises(SettingsError) as caught:
        loaded(KAFKA_BOOTSTRAP_SERVERS="b:9092").require(
            "kafka_bootstrap_servers", "schema_registry_url", "postgres_dsn"
        )
    assert (
        str(caught.value).splitlines()[0]
        == "HLF_SYNC_SCHEMA_REGISTRY_URL is not set: Confluent-compatible root: {url}/schemas/ids/N"
        " answers (example:"
        " HLF_SYNC_SCHEMA_REGISTRY_URL='https://registry.example.org/apis/ccompat/v7')"
    )
    loaded(POSTGRES_DSN="host=x").require("postgres_dsn")


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, "DYNAMICS_TENANT_ID"),
        ({"DYNAMICS_TENANT_ID": TENANT}, "DYNAMICS_CLIENT_ID"),
        ({"DYNAMICS_TENANT_ID": TENANT, "DYNAMICS_CLIENT_ID": TENANT}, "DYNAMICS_CLIENT_SECRET"),
    ],
)
def test_without_credentials_the_first_missing_one_is_named(
    values: dict[str, str], missing: str
) -> None:
    """Tenant, application, secret."""
    with pytest.raises(SettingsError, match=f"^HLF_SYNC_{missing} is not set: "):
        loaded(**values).require_credentials()


def test_secret_certificate_or_managed_identity_will_do() -> None:
    """Any one of them."""
    application = {"DYNAMICS_TENANT_ID": TENANT, "DYNAMICS_CLIENT_ID": TENANT}
    loaded(DYNAMICS_CLIENT_SECRET=SECRET, **application).require_credentials()
    loaded(DYNAMICS_CLIENT_CERTIFICATE_FILE="app.pem", **application).require_credentials()
    loaded(DYNAMICS_MANAGED_IDENTITY="true").require_credentials()


def test_a_slip_of_the_pen_is_named_with_what_was_meant() -> None:
    """Our prefix, no setting of ours; the cache folder and secrets' files are known."""
    lines = unknown(
        environ={
            "HLF_SYNC_RETRY_MAX_ATEMPTS": "3", "HLF_SYNC_ZZZ": "1", "HLF_SYNC_CACHE": "x", "HLF_SYNC_POSTGRES_DSN_FILE": "x", "PATH": "x",
        }
    )  # fmt: skip
    assert (
        lines[0] == "HLF_SYNC_RETRY_MAX_ATEMPTS is not a setting of hlf-sync; did you mean"
        " HLF_SYNC_RETRY_MAX_ATTEMPTS?"
    )
    assert [line.split()[0] for line in lines] == ["HLF_SYNC_RETRY_MAX_ATEMPTS", "HLF_SYNC_ZZZ"]


@pytest.mark.requirement("R23")
@pytest.mark.parametrize("name", SECRETS)
def test_a_replaced_secret_file_is_read_at_the_next_use(name: str, tmp_path: Path) -> None:
    """A rotation needs no restart; while the file is away or empty, the last good one serves."""
    file = tmp_path / "secret"
    file.write_text(f"{FIRST}\n", encoding="utf-8")
    user = name.replace("_password", "_user")
    settings = load(
        environ={variable(name) + "_FILE": str(file)}
        | ({variable(user): USERS[user]} if user in USERS else {})
    )
    assert settings.secret(name) == FIRST
    file.write_text(f"{SECOND}\n", encoding="utf-8")
    assert settings.secret(name) == SECOND
    file.write_text("", encoding="utf-8")
    assert settings.secret(name) == SECOND
    file.unlink()
    assert settings.secret(name) == SECOND


def test_a_dsn_file_that_becomes_none_is_not_used(tmp_path: Path) -> None:
    """The driver would quote it, password and all."""
    file = tmp_path / "dsn"
    file.write_text("host=db password=first", encoding="utf-8")
    settings = load(environ={"HLF_SYNC_POSTGRES_DSN_FILE": str(file)})
    file.write_text(f"hlf:{SECRET}@db/x", encoding="utf-8")
    assert settings.secret("postgres_dsn") == "host=db password=first"


def test_a_secret_without_a_file_is_the_one_in_the_settings() -> None:
    """And none is empty text."""
    settings = load(environ={"HLF_SYNC_POSTGRES_DSN": "host=db"})
    assert (settings.secret("postgres_dsn"), settings.secret("connect_password")) == ("host=db", "")


def env_file(tmp_path: Path, text: str | bytes) -> Path:
    """A file with this content."""
    file = tmp_path / "hlf.env"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_the_environment_may_name_the_env_file(tmp_path: Path) -> None:
    """`--env-file` rules over it; one that is missing is an error, unlike `.env`."""
    file = env_file(tmp_path, "HLF_SYNC_ORGANIZATION='XYZ'\n")
    environ = {"HLF_SYNC_ENV_FILE": str(file)}
    assert load(environ=environ).organization == "XYZ"
    (other := tmp_path / "other.env").write_text("HLF_SYNC_ORGANIZATION=ABC\n", encoding="utf-8")
    assert load(other, environ).organization == "ABC"
    assert unknown(environ=environ) == []
    file.unlink()
    with pytest.raises(SettingsError, match=r"^HLF_SYNC_ENV_FILE=.*hlf\.env: no such file$"):
        load(environ=environ)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("HLF_SYNC_ORGANIZATION\n", 1),
        ("# fine\n\nHLF_SYNC_ORGANIZATION=XYZ\n\n\ns3cr3t-that-nobody-may-see\n", 6),
        ("A=1\nB='open\nC=2\n", 2),
        ("A=1\n= 3\n", 2),
    ],
)
def test_a_line_of_the_env_file_that_is_none_is_named_by_its_number(
    tmp_path: Path, text: str, line: int
) -> None:
    """And never quoted: it may be a secret without its name."""
    file = env_file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}, line {line}: neither NAME=value, a comment nor blank"


def test_an_env_file_may_have_comments_blank_lines_exports_and_a_byte_order_mark(
    tmp_path: Path,
) -> None:
    """As editors and shells leave it; another encoding is said."""
    text = "\ufeff# a comment\n\nexport HLF_SYNC_ORGANIZATION='XYZ' # why\nHLF_SYNC_LOG_LEVEL=\n"
    assert load(env_file(tmp_path, text), {}).organization == "XYZ"
    with pytest.raises(SettingsError, match="must be UTF-8"):
        load(env_file(tmp_path, "HLF_SYNC_ORGANIZATION=Ä".encode("latin-1")), {})


@pytest.mark.requirement("R23")
@pytest.mark.parametrize(
    "edges", ["\ufeff{}", "{} \n", "{}\t\r\n", "\u200b{}\u00a0", "{}\x00", " {}\n\n"]
)
def test_what_no_secret_begins_or_ends_with_is_left_out_and_said(
    tmp_path: Path, edges: str
) -> None:
    """A refusal with AADSTS7000215 would be all there is to see; in a file and in the
    environment.
    """
    name, text = "HLF_SYNC_DYNAMICS_CLIENT_SECRET", edges.format("s3cr3t w!th")
    file = env_file(tmp_path, text)
    assert read_secret(file, name) == "s3cr3t w!th"
    environ = {f"{name}_FILE": str(file)}
    assert load(environ=environ).secret("dynamics_client_secret") == "s3cr3t w!th"
    (line,) = unknown(environ=environ)
    assert line.startswith(f"{name}_FILE: blanks or invisible characters")
    assert load(environ={name: text}).secret("dynamics_client_secret") == "s3cr3t w!th"
    assert len(unknown(environ={name: text})) == 1
    assert "s3cr3t" not in line


@pytest.mark.requirement("R23")
def test_an_ordinary_secret_file_is_not_remarked_upon(tmp_path: Path) -> None:
    """The final line break is not a mistake; UTF-16 is one that needs a person."""
    file = env_file(tmp_path, "s3cr3t\r\n")
    assert unknown(environ={"HLF_SYNC_CONNECT_PASSWORD_FILE": str(file)}) == []
    with pytest.raises(SettingsError, match="UTF-16"):
        read_secret(env_file(tmp_path, "s3cr3t".encode("utf-16")), "X_FILE")


@pytest.mark.requirement("R45")
def test_kafka_options_show_no_password_and_may_lie_in_a_file(tmp_path: Path) -> None:
    """In no text form; a replaced file counts for whoever makes a client next, and one that is
    broken does not.
    """
    options = '{"sasl.password": "%s", "linger.ms": 5}'
    file = env_file(tmp_path, "\ufeff" + options % SECRET + "\n")
    settings = load(environ={"HLF_SYNC_KAFKA_OPTIONS_FILE": str(file)})
    for one in (settings, loaded(KAFKA_OPTIONS=options % SECRET)):
        assert {**one.kafka_options} == {"sasl.password": SECRET, "linger.ms": 5}
        forms = [repr(one), str(one), repr(one.kafka_options), f"{one.kafka_options}"]
        forms += [str(one.model_dump()), one.model_dump_json()]
        assert not any(SECRET in form for form in forms)
    env_file(tmp_path, options % "rotated")
    assert {**settings.kafka_options}["sasl.password"] == "rotated"
    env_file(tmp_path, "{")
    assert {**settings.kafka_options}["sasl.password"] == "rotated"
    with pytest.raises(SettingsError) as caught:
        load(environ={"HLF_SYNC_KAFKA_OPTIONS_FILE": str(file)})
    assert str(caught.value).startswith("HLF_SYNC_KAFKA_OPTIONS: is not JSON object")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ('{"sasl.passwrod": "s3cr3t"}', " (sasl.passwrod)"),
        ('{"linger.ms": "s3cr3t"}', " (queue.buffering.max.ms)"),
        ('{"security.protocol": "ssl", "ssl.ca.location": "/s3cr3t"}', " (ssl.ca.location)"),
    ],
)
def test_options_that_librdkafka_refuses_are_a_wrong_setting_and_no_bug(
    options: str, what: str
) -> None:
    """Exit 2 with the property's name, never its value; every client's constructor."""
    settings = loaded(KAFKA_OPTIONS=options, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    chosen = kafka_options(settings)
    for make in (
        lambda: LagReader(chosen, "t", "g"),
        lambda: ChangesLog(chosen, "t", "c"),
    ):
        with pytest.raises(SettingsError) as caught:
            make()
        assert str(caught.value) == f"HLF_SYNC_KAFKA_OPTIONS: librdkafka refuses them{what}"


def test_all_that_is_missing_is_said_at_once() -> None:
    """A worker's first start: one line for each, with what it means; the credentials too."""
    settings = load(environ={})
    with pytest.raises(SettingsError) as caught:
        settings.require("postgres_dsn", "dynamics_base_url", *settings.credential_names)
    lines = str(caught.value).splitlines()
    names = ["POSTGRES_DSN", "DYNAMICS_BASE_URL"]
    names += [f"DYNAMICS_{one}" for one in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")]
    assert [line.partition(" ")[0] for line in lines] == [PREFIX + name for name in names]
    assert "postgresql://hlf_sync@db.example.org" in lines[0]


def test_all_that_is_wrong_is_said_at_once() -> None:
    """And still no value."""
    said = refused(HTTP_PORT="70000", DELIVERY="dry", TIME_ZONE=SECRET)
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "HLF_SYNC_DELIVERY",
        "HLF_SYNC_HTTP_PORT",
        "HLF_SYNC_TIME_ZONE",
    ]
    assert SECRET not in said


@pytest.mark.parametrize(
    ("zone", "why"),
    [
        ("CET", "another clock for PostgreSQL in summer: name a place"),
        ("WET", "another clock for PostgreSQL in summer: name a place"),
        ("right/Europe/Oslo", "not a time zone"),
        ("localtime", "not a time zone"),
        ("Europe/Olso", "not a time zone"),
    ],
)
def test_a_time_zone_is_one_clock_for_python_and_postgresql(zone: str, why: str) -> None:
    """Nights and reminders are counted by the one, shown by the other."""
    assert why in refused(TIME_ZONE=zone)


def test_a_sandbox_that_lies_here_is_named_when_settings_are_missing(tmp_path: Path) -> None:
    """The forgotten --env-file; not where a file was given and lacks something."""
    folder = tmp_path / ".sandbox"
    folder.mkdir()
    (folder / "sandbox.env").write_text("HLF_SYNC_POSTGRES_DSN='host=x'\n")
    with pytest.raises(SettingsError) as caught:
        load(environ={}).require("postgres_dsn")
    assert str(caught.value).splitlines()[1] == (
        "A sandbox lies here: add --env-file .sandbox/sandbox.env, or export"
        " HLF_SYNC_ENV_FILE=.sandbox/sandbox.env"
    )
    for given in (
        load(folder / "sandbox.env", environ={}),
        load(environ={"HLF_SYNC_ENV_FILE": str(folder / "sandbox.env")}),
    ):
        with pytest.raises(SettingsError) as caught:
            given.require("connect_url")
        assert "sandbox" not in str(caught.value)


def test_what_was_left_to_its_default_is_known_from_what_was_given() -> None:
    """The second worker's port may give way only where nobody asked for that one."""
    assert not loaded().is_given("http_port")
    assert loaded(HTTP_PORT="8080").is_given("http_port")


_FLOATS = [name for name, field in Settings.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("name", _FLOATS)
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_no_time_and_no_ratio_is_infinite_or_no_number(name: str, value: str) -> None:
    """An infinite late effect would be an interval that PostgreSQL refuses, at the first lost
    answer.
    """
    with pytest.raises(ValidationError):
        Settings(**{name: value})
