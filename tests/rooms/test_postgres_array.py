"""Arrays in PostgreSQL's own notation, read back by PostgreSQL."""

import psycopg
import pytest
from hlf_sync.postgres.connections import array
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

_PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_TEXTS = st.lists(st.none() | _PLAIN | st.sampled_from(["NULL", '"', "\\", "{,}"]))


def test_postgresql_reads_back_what_was_written(cluster: Cluster) -> None:
    """Whatever the texts hold: quotes, backslashes, braces, the word NULL, nothing."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:

        @given(_TEXTS)
        def check(texts: list[str | None]) -> None:
            assert connection.execute("SELECT %s::text[]", (array(texts),)).fetchone() == (texts,)

        check()


def test_numbers_and_truths_are_read_as_such(cluster: Cluster) -> None:
    """The types that the ledger writes."""
    with psycopg.connect(cluster.dsn("postgres")) as connection:
        values = (array([1, None]), array([1.5, None]), array([True, None]))
        found = connection.execute("SELECT %s::int[], %s::float8[], %s::bool[]", values).fetchone()
        assert found == ([1, None], [1.5, None], [True, None])
