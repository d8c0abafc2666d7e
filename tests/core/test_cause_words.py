"""Numbers with their nouns, and causes in words."""

import httpx
import psycopg
import pytest
from hlf_sync.core.cause_words import WORDS, in_words, of
from hlf_sync.core.plural import counted, needs
from hlf_sync.errors import DependencyError


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 looks"), (1, "1 look"), (1200, "1,200 looks"), (3.5, "3.5 looks")]
)
def test_a_noun_is_in_the_plural_where_it_must_be(count: float, words: str) -> None:
    """Thousands with a comma."""
    assert counted(count, "look") == words


def test_a_library_s_name_for_a_failure_is_said_in_words() -> None:
    """People read a sentence; logs and metrics keep the name."""
    error = DependencyError("Kafka Connect", "ConnectError")
    assert str(error) == "Kafka Connect cannot be reached (connection refused, or no such host)"
    assert error.detail == "ConnectError"


def test_what_is_said_in_words_already_stays() -> None:
    """Also with more behind the name: the name alone is exchanged."""
    assert in_words("rebalancing") == "rebalancing"
    assert in_words("UndefinedTable: run it") == "a table is missing: run it"


def test_an_exception_s_cause_is_that_of_its_nearest_known_kind() -> None:
    """A subclass says what its parent says; one that nobody knows says its name."""

    class Odd(psycopg.OperationalError): ...

    class Stranger(Exception): ...  # noqa: N818 - a stranger

    assert of(Odd()) == WORDS["OperationalError"]
    assert of(Stranger()) == "Stranger"
    assert of(FileNotFoundError()) == "there is no such file"


def test_every_failure_of_the_http_library_s_transport_has_its_words() -> None:
    """By reflection, so that a new one is noticed."""
    names = {
        name
        for name, kind in vars(httpx).items()
        if isinstance(kind, type) and issubclass(kind, httpx.TransportError)
    }
    general = {"TransportError", "TimeoutException", "NetworkError", "ProtocolError", "ProxyError"}
    assert names - general - {"LocalProtocolError"} <= set(WORDS)


def test_a_verb_follows_its_number() -> None:
    assert [f"{count} {needs(count)} a person" for count in (1, 2)] == [
        "1 needs a person",
        "2 need a person",
    ]
