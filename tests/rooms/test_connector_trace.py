"""A failed task's trace, made fit to be shown."""

import pytest
from hlf_sync.connect.connector_trace import causes, find_cause

_TOO_LARGE = (
    "ConnectException: Unrecoverable exception from producer send callback\nCaused by:"
    " org.apache.kafka.common.errors.RecordTooLargeException: The message is 3000319 bytes"
    " when serialized which is larger than 1048576"
)


@pytest.mark.requirement("R45")
@pytest.mark.parametrize(
    "line",
    [
        "FATAL: password=canary in x",
        'jaas "password": "canary"',
        "could not reach https://user:canary@registry/x",
        "  Detail: Key (email)=(canary) already exists.",
        "Struct{id=1,full_name=canary}",
        "error at record {after: {notes=canary}}",
        "Struct{id=1,notes=}canary} is bad",
        "Struct{id=1,notes=canary",
    ],
)
def test_secrets_and_row_values_are_not_shown(line: str) -> None:
    """PostgreSQL's detail and Debezium's structs quote rows."""
    assert "canary" not in "\n".join(causes(f"Caused by: {line}\n\tat a.B(C.java)\n{line}"))


def test_frames_are_left_out_and_the_root_cause_stays() -> None:
    """The end of a Java trace is what happened first."""
    trace = "\n".join(
        [
            *(f"Caused by: level {n}\n\tat a.B(C.java:{n})\n\t... 3 more" for n in range(50)),
            "Caused by: root",
        ]
    )
    shown = causes(trace)
    assert shown[-1] == "Caused by: root"
    assert len(shown) <= 12
    assert not any(line.startswith("at ") for line in shown)


@pytest.mark.parametrize(
    ("trace", "word"),
    [
        ('Caused by: ERROR: replication slot "hlf_mentor_cdc" does not exist', "slot"),
        ('ERROR: publication "hlf_mentor_pub" does not exist', "publication"),
        ('FATAL: password authentication failed for user "hlf_cdc"', "refuses"),
        ("ERROR: permission denied for table mentor", "right"),
        ("Topic hlf.mentor.changes not present in metadata after 60000 ms", "topic"),
        ("DebeziumException: The connector is trying to read change stream starting at X", "slot"),
        (
            _TOO_LARGE,
            "02_source.sql again, then `hlf-sync connector apply`",
        ),
        ("something new", "log"),
    ],
)
def test_the_cause_brings_advice(trace: str, word: str) -> None:
    """Each known cause names what to do."""
    assert word in find_cause(trace).advice


@pytest.mark.parametrize(
    ("trace", "passes"),
    [
        (
            (
                "Tolerance exceeded\nCaused by:"
                " io.apicurio.registry.rest.client.exception.RestClientException\n\tat x"
            ),
            True,
        ),
        (
            (
                "Caused by: io.apicurio.registry.rest.client.exception.RuleViolationException:"
                " incompatible"
            ),
            False,
        ),
        ("Caused by: org.postgresql.util.PSQLException: Connection to db:5432 refused.", True),
        ('ERROR: replication slot "hlf_mentor_cdc" is active for PID 1', True),
        ('ERROR: replication slot "hlf_mentor_cdc" does not exist', False),
        (_TOO_LARGE, False),
        ("something new", False),
    ],
)
def test_only_an_outage_passes_by_itself(trace: str, passes: bool) -> None:
    """Whatever else needs a person, and a restart would hide it."""
    assert find_cause(trace).passes is passes
