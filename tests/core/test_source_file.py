"""The source file of the Connect workers is a Java properties file."""

import pytest
from hlf_sync.connect.source_file import NEEDED, escaped, problems

WHOLE = "".join(f"{name}=x\n" for name in NEEDED)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (r"password=a\b", "password has a single backslash"),
        (r"password=C:\secret", "password has a single backslash"),
        ("password=ends with one\\", "password has a single backslash"),
        ("just text", ""),
        ("=x", "line 8 is not a name=value"),
    ],
)
def test_what_java_would_read_differently_is_named_and_never_quoted(
    line: str, problem: str
) -> None:
    found = "\n".join(problems(f"{WHOLE}{line}\n"))
    assert problem in found
    assert "secret" not in found


@pytest.mark.parametrize("line", ["# comment \\", "", r"password=a\\b", "sslmode: disable"])
def test_what_java_reads_as_it_stands_is_fine(line: str) -> None:
    assert problems(f"{WHOLE}{line}\n") == ()


def test_what_is_missing_is_named() -> None:
    assert problems("host=x\n")[-1] == "registry_url is missing"


@pytest.mark.parametrize("value", [r"a\b", r"\\", " led by a blank", "plain", r"C:\x y"])
def test_a_value_that_is_escaped_has_no_problem(value: str) -> None:
    assert problems(f"{WHOLE}password={escaped(value)}\n") == ()
