"""Debezium and Kafka Connect as they come, on a real PostgreSQL, where they are other than one would
think. What leans on each: docs/behaviour.md.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.plain_connector import Make, PlainConnector, plain_connector
from tests.fixtures.source_side import SourceSide
from tests.fixtures.worker_process import until

pytestmark = [pytest.mark.stack, pytest.mark.behaviour, pytest.mark.timeout(300)]

_NUMBER = "number int PRIMARY KEY"
_EPOCH = 1 << 32


@pytest.fixture
def make(stack: Sandbox, source_side: SourceSide) -> Iterator[Make]:
    """Connectors with a table of these columns, each removed at the end."""
    with ExitStack() as made:
        yield lambda columns: made.enter_context(plain_connector(stack, source_side, columns))


@pytest.mark.requirement("R01")
def test_heartbeats_go_on_while_the_publication_is_gone_and_nothing_is_streamed(
    make: Make,
) -> None:
    """A clock sends them. What shows it is the slot's `confirmed_flush_lsn`, which stands."""
    source = make(_NUMBER)
    source.start()
    source.sql("INSERT INTO thing VALUES (1)")
    source.await_rows(1)
    source.sql("DROP PUBLICATION plain_pub")
    source.sql("INSERT INTO thing SELECT generate_series(2, 50)")
    beats = source.end(source.heartbeats)
    # What was confirmed on its way before.
    until(lambda: source.end(source.heartbeats) >= beats + 10, "ten more heartbeats")
    confirmed = source.slot()["confirmed_flush_lsn"]
    source.sql("INSERT INTO thing SELECT generate_series(51, 100)")
    until(lambda: source.end(source.heartbeats) >= beats + 20, "and ten more")
    assert source.states() == ("RUNNING", ["RUNNING"])
    assert source.rows() == [{"number": 1}]
    assert source.slot()["confirmed_flush_lsn"] == confirmed


@pytest.mark.requirement("R07")
def test_a_transaction_id_has_64_bits_in_snapshot_records_and_32_in_streamed_ones(
    make: Make,
) -> None:
    """After the first wrap-around of the ids."""
    source = make(_NUMBER)
    source.sql("INSERT INTO thing VALUES (1)")
    source.start()
    source.await_rows(1)
    source.sql("INSERT INTO thing VALUES (2)")
    source.await_rows(2)
    ids = {
        record["payload"]["op"]: record["payload"]["source"]["txId"] for record in source.records()
    }
    assert ids["r"] > _EPOCH > ids["c"]


def test_null_in_a_column_with_a_default_arrives_as_the_default(make: Make) -> None:
    """JsonConverter as it comes; and `now()` is 1970 in the schema."""
    source = make(
        f"{_NUMBER}, colour text DEFAULT 'blue', at timestamptz DEFAULT now(), plain text"
    )
    source.start()
    source.sql("INSERT INTO thing VALUES (1, NULL, NULL, NULL)")
    (record,) = [source.await_rows(1), source.records()][1]
    after = record["payload"]["after"]
    assert after == {
        "number": 1,
        "colour": "blue",
        "at": "1970-01-01T00:00:00.000000Z",
        "plain": None,
    }


def test_a_timestamp_that_nanoseconds_cannot_tell_arrives_as_null(make: Make) -> None:
    """They end in April 2262, and "for ever" is often written as the end of 9999. In snapshot and
    stream alike; ours writes ISO text.
    """
    source = make(f"{_NUMBER}, at timestamp")
    source.sql("INSERT INTO thing VALUES (1, '2262-04-11'), (2, '2262-04-12'), (3, '9999-12-31')")
    source.start(time_precision_mode="nanoseconds")
    read = source.await_rows(3)
    source.sql("UPDATE thing SET at = at")
    rows = source.await_rows(6)
    assert rows == read * 2
    assert [row["at"] is None for row in read] == [False, True, True]


def test_an_old_null_under_a_not_null_that_is_not_valid_arrives_as_an_invented_value(
    make: Make,
) -> None:
    """PostgreSQL 18 calls the column NOT NULL from the first moment on
    (findings/not_valid_counts_as_not_null.sh), so the field is required, and what a required field
    of its type holds without a value is written.
    """
    source = make(f"{_NUMBER}, colour text, weight int, plain text")
    source.sql("INSERT INTO thing VALUES (1, NULL, NULL, NULL)")
    source.sql("ALTER TABLE thing ADD NOT NULL colour NOT VALID, ADD NOT NULL weight NOT VALID")
    source.start()
    assert source.await_rows(1) == [{"number": 1, "colour": "", "weight": 0, "plain": None}]


def test_a_date_at_infinity_has_another_sign_in_the_stream_than_in_the_snapshot(
    make: Make,
) -> None:
    """With the time precision that Debezium comes with; ours writes ISO text, and no date is ever
    read of a record.
    """
    source = make(f"{_NUMBER}, day date")
    source.sql("INSERT INTO thing VALUES (1, 'infinity')")
    source.start()
    source.await_rows(1)
    source.sql("INSERT INTO thing VALUES (2, 'infinity')")
    read, streamed = (row["day"] for row in source.await_rows(2))
    assert read > 0 > streamed or read < 0 < streamed


def test_a_new_enum_value_is_known_at_once_and_a_column_renamed_since_loses_its_value(
    make: Make,
) -> None:
    """The catalogue is read at that event, and it is that of now: what the log says of the old name
    finds no column.
    """
    source = make(_NUMBER)
    source.sql("CREATE TYPE colour AS ENUM ('blue')")
    source.sql("ALTER TABLE thing ADD shade colour, ADD old text")
    source.start()
    source.sql("INSERT INTO thing VALUES (1, 'blue', 'a')")
    source.await_rows(1)
    source.sql("ALTER TYPE colour ADD VALUE 'red'")
    # In one transaction: the change is read after the renaming, whoever is quicker.
    source.sql(
        "BEGIN; INSERT INTO thing VALUES (2, 'red', 'b'); ALTER TABLE thing RENAME old TO new; COMMIT"
    )
    source.sql("INSERT INTO thing VALUES (3, 'red', 'c')")
    rows = source.await_rows(3)
    assert [row["shade"] for row in rows] == ["blue", "red", "red"]
    assert "b" not in rows[1].values(), rows
    assert rows[2]["new"] == "c"


@pytest.mark.requirement("R01")
def test_connect_takes_any_offset_and_one_beyond_the_log_skips_in_silence(make: Make) -> None:
    """Answered with 200. RUNNING, and what is committed below the invented position never comes."""
    source = make(_NUMBER)
    source.start(offset_mismatch_strategy="trust_offset")
    source.sql("INSERT INTO thing VALUES (1)")
    source.await_rows(1)
    source.stop()
    offsets = source.offsets()
    place = offsets["offsets"][0]["offset"]
    for name in ("lsn", "lsn_proc", "lsn_commit"):
        if place.get(name) is not None:
            place[name] += 1 << 30
    assert source.patch_offsets(offsets) == 200
    source.order("resume")
    source.await_streaming()
    beats = source.end(source.heartbeats)
    source.sql("INSERT INTO thing VALUES (2)")
    until(lambda: source.end(source.heartbeats) >= beats + 10, "ten more heartbeats")
    assert source.states() == ("RUNNING", ["RUNNING"])
    assert source.rows() == [{"number": 1}]


def test_an_offset_older_than_the_slot_is_taken_and_fails_the_task(make: Make) -> None:
    """Said by the task, not by the PATCH."""
    source = make(_NUMBER)
    source.start(offset_mismatch_strategy="trust_offset")
    source.sql("INSERT INTO thing VALUES (1)")
    source.await_rows(1)
    source.stop()
    offsets = source.offsets()
    place = offsets["offsets"][0]["offset"]
    for name in ("lsn", "lsn_proc", "lsn_commit"):
        if place.get(name) is not None:
            place[name] = 1 << 20
    assert source.patch_offsets(offsets) == 200
    source.order("resume")
    until(lambda: source.states()[1] == ["FAILED"], "its task fails", 60)


@pytest.mark.requirement("R40")
def test_a_slot_that_was_lost_by_idling_leaves_connector_and_task_running(
    make: Make, stack: Sandbox
) -> None:
    """idle_replication_slot_timeout: the task asks for the slot again and again."""
    source = make(_NUMBER)
    source.start()
    source.sql("INSERT INTO thing VALUES (1)")
    source.await_rows(1)
    source.stop()
    with _setting(stack, "idle_replication_slot_timeout", "1s"):
        until(lambda: _is_lost(source), "the slot is lost", 60)
    source.sql("INSERT INTO thing VALUES (2)")
    source.order("resume")
    until(lambda: source.states() == ("RUNNING", ["RUNNING"]), "it says that it runs", 60)
    assert source.rows() == [{"number": 1}]


@pytest.mark.requirement("R40")
def test_a_slot_that_was_lost_by_its_size_leaves_a_running_connector_without_a_task(
    make: Make, stack: Sandbox
) -> None:
    """max_slot_wal_keep_size, while nobody read the log."""
    source = make(_NUMBER)
    source.start()
    source.sql("INSERT INTO thing VALUES (1)")
    source.await_rows(1)
    source.stop()
    with _setting(stack, "max_slot_wal_keep_size", "1MB"):
        until(lambda: _is_outgrown(source), "the slot is lost", 60)
    source.sql("INSERT INTO thing VALUES (2)")
    source.order("resume")
    until(lambda: source.states()[0] == "RUNNING", "it says that it runs", 60)
    beats = source.end(source.heartbeats)
    with pytest.raises(AssertionError):
        until(lambda: source.states() != ("RUNNING", []), "another state", 10)
    assert source.end(source.heartbeats) == beats
    assert source.rows() == [{"number": 1}]


def _is_outgrown(source: PlainConnector) -> bool:
    source.sql("SELECT pg_logical_emit_message(false, 'x', repeat('y', 1000000))")
    source.sql("SELECT pg_switch_wal()")
    return _is_lost(source)


def _is_lost(source: PlainConnector) -> bool:
    source.sql("CHECKPOINT")
    return bool(source.slot()["wal_status"] == "lost")


class _setting:  # noqa: N801 - used as a `with` block
    """A setting of the whole server for as long as the block lasts."""

    def __init__(self, stack: Sandbox, name: str, value: str) -> None:
        self._dsn, self._name, self._value = stack.env["SANDBOX_POSTGRES_ADMIN_DSN"], name, value

    def __enter__(self) -> None:
        self._order(f"ALTER SYSTEM SET {self._name} = '{self._value}'")

    def __exit__(self, *_: object) -> None:
        self._order(f"ALTER SYSTEM RESET {self._name}")

    def _order(self, statement: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.encode())
            connection.execute("SELECT pg_reload_conf()")
