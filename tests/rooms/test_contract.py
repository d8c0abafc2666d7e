"""The contract with Dynamics refuses what must never reach the wire, and is the one place for
column and values.
"""

import pytest
from hlf_sync.core.model import ContactId, Operation, Visibility
from hlf_sync.dynamics.contract import DynamicsContract
from hlf_sync.errors import SettingsError

BASE = "https://org.crm.dynamics.com"


@pytest.mark.requirement("R25")
@pytest.mark.parametrize(
    "base_url",
    [
        "http://org.crm.dynamics.com",
        "org.crm.dynamics.com",
        "",
        "https://",
        "https://org.crm.dynamics.com/api/data",
        "https://org.crm.dynamics.com?x=1",
        "https://org.crm.dynamics.com#x",
        "https://user@org.crm.dynamics.com",
        "https://örg.example",
        "https://[::1",
        "https://org:0",
        "https://org:99999",
        "ftp://org",
    ],
)
def test_a_base_url_that_is_not_plain_https_is_refused(base_url: str) -> None:
    """At construction, with the variable's name."""
    with pytest.raises(SettingsError, match="HLF_SYNC_DYNAMICS_BASE_URL"):
        DynamicsContract(base_url)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("api_version", "9.2"),
        ("api_version", "v9.2/x"),
        ("entity_set", "contacts(1)"),
        ("entity_set", ""),
        ("visibility_column", "a b"),
    ],
)
def test_names_that_would_change_the_address_are_refused(field: str, value: str) -> None:
    """They become part of a path."""
    with pytest.raises(SettingsError, match=f"HLF_SYNC_DYNAMICS_{field.upper()}"):
        DynamicsContract(BASE, **{field: value})


def test_the_two_values_must_differ() -> None:
    """A contract that cannot say both says nothing."""
    with pytest.raises(SettingsError):
        DynamicsContract(BASE, visible_value=1, hidden_value=1)


@pytest.mark.requirement("R33")
def test_column_and_values_are_configuration() -> None:
    """Another entity set, column and values: a choice column with 1 and 2."""
    contract = DynamicsContract(
        BASE + "/", "v9.1", "new_mentors", "new_listing", visible_value=1, hidden_value=2
    )
    contact = ContactId("6f1a1f3c-0000-4000-8000-000000000001")
    assert contract.contact_address(contact) == f"{BASE}/api/data/v9.1/new_mentors({contact})"
    assert [contract.body(operation) for operation in Operation] == [
        b'{"new_listing":2}',
        b'{"new_listing":1}',
    ]
    assert [contract.visibility_of(value) for value in (1, 2, None, 3, True, "1")] == [
        Visibility.VISIBLE,
        Visibility.HIDDEN,
        Visibility.HIDDEN,
        None,
        None,
        None,
    ]
