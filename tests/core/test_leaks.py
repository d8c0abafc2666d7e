"""The search for leaks finds what is planted, in each form: a search that finds nothing proves
nothing.
"""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from tests.fixtures.leaks import Search

WORDS = ("Zoë Quétzal-7f3a", "quetzal.7f3a+home@example.org", "s3cr3t/Pass+word~=9", "😀 canary")


def _all_escaped(word: str, shape: str) -> bytes:
    return "".join(shape.format(unit) for unit in _units(word)).encode()


def _units(word: str) -> list[int]:
    raw = word.encode("utf-16-be")
    return [int.from_bytes(raw[start : start + 2], "big") for start in range(0, len(raw), 2)]


FORMS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "lower case": lambda word: word.lower().encode(),
    "upper case": lambda word: word.upper().encode(),
    "UTF-16, little end first": lambda word: word.encode("utf-16-le"),
    "UTF-16, big end first": lambda word: word.encode("utf-16-be"),
    "hex": lambda word: word.encode().hex().encode(),
    "upper-case hex": lambda word: word.encode().hex().upper().encode(),
    "hex of UTF-16": lambda word: word.encode("utf-16-le").hex().encode(),
    "URL-escaped": lambda word: quote(word, safe="").encode(),
    "URL-escaped, lower-case hex": lambda word: quote(word, safe="").lower().encode(),
    "as a form's field": lambda word: quote_plus(word).encode(),
    "every byte URL-escaped": (
        lambda word: "".join(f"%{byte:02X}" for byte in word.encode()).encode()
    ),
    "JSON": lambda word: json.dumps(word).encode(),
    "JSON with every character escaped": lambda word: _all_escaped(word, "\\u{:04x}"),
    "JSON with upper-case escapes": lambda word: _all_escaped(word, "\\u{:04X}"),
    "JSON in JSON": lambda word: json.dumps(json.dumps({"name": word})).encode(),
    "JSON in a URL": lambda word: quote(json.dumps({"name": word})).encode(),
    "bytes as Python shows them": lambda word: repr(word.encode()).encode(),
    "JSON with escaped slashes": lambda word: (
        json.dumps(word, ensure_ascii=False).replace("/", "\\/").encode()
    ),
    **{
        f"base64 after {before} bytes": lambda word, before=before: base64.b64encode(
            b"x" * before + word.encode() + b"and more"
        )  # type: ignore[misc]
        for before in range(6)
    },
    **{
        f"url-safe base64 after {before} bytes": lambda word, before=before: (
            base64.urlsafe_b64encode(b"?" * before + word.encode())
        )  # type: ignore[misc]
        for before in range(6)
    },
    "base64 in a URL": (
        lambda word: quote(base64.b64encode(word.encode() + b">>>"), safe="").encode()
    ),
    "base64 of UTF-16": lambda word: base64.b64encode(word.encode("utf-16-le") + b"tail"),
}


@pytest.mark.requirement("R45")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", WORDS)
def test_a_planted_word_is_found_in_each_form(word: str, form: str) -> None:
    """In the middle of something else."""
    assert Search([word, "absent"]).found(
        b'{"level":"info","text":"' + FORMS[form](word) + b'"}\n'
    ) == [word]


def test_nothing_is_found_where_nothing_is() -> None:
    """Not in random text, nor in half of a word."""
    assert (
        Search(WORDS).found(
            base64.b64encode(bytes(range(256))) + b"quetzal.7f3a Quetzal %zz \\u12 s3cr3t"
        )
        == []
    )
