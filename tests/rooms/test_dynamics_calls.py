"""The emulated Web API and token service without any network: whatever is asked, there is an answer
and no exception.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hlf_sync_sandbox.dynamics.answers import Answer, Body, render, shaped
from hlf_sync_sandbox.dynamics.assertion import is_signed_by
from hlf_sync_sandbox.dynamics.calls import read_call
from hlf_sync_sandbox.dynamics.codes import CATALOGUE
from hlf_sync_sandbox.dynamics.dataverse import Admission
from hlf_sync_sandbox.dynamics.emulator import Emulator, open_emulator
from hlf_sync_sandbox.dynamics.faults import Fault
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.sts import ERRORS
from hlf_sync_sandbox.dynamics.tokens import TokenFault
from hypothesis import given
from hypothesis import strategies as st

BASE = "https://127.0.0.1:1"
ONE = "6f1a1f3c-0000-4000-8000-000000000001"

paths = st.one_of(
    st.text(max_size=60).map(lambda text: f"/api/data/v9.2/{text}"),
    st.text(max_size=40).map(lambda text: f"/api/data/v9.2/contacts({text})"),
    st.text(max_size=20).map(lambda text: f"/api/data/v9.2/contacts(new_mentorref='{text}')"),
    st.sampled_from(
        [
            f"/api/data/v9.2/contacts({ONE})",
            "/api/data/v9.2/contacts/Microsoft.Dynamics.CRM.UpdateMultiple",
            "/api/data/v9.2/$batch",
        ]
    ),
)
bodies = st.one_of(
    st.binary(max_size=80),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ).map(
        lambda value: f'{{"new_showonwebsite":{value!r},"Targets":[{value!r}]}}'.encode(
            "utf-8", "surrogatepass"
        )
    ),
    st.just(b'{"new_showonwebsite":true}'),
)
header_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["*", 'W/"1"', "return=representation", "application/json", "null"]),
)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that listens to nobody."""
    found = open_emulator(tmp_path_factory.mktemp("dynamics"), journal_file=False)
    found.set_addresses("127.0.0.1", 1)
    yield found
    found.close()


@given(
    method=st.sampled_from(["GET", "PATCH", "POST", "DELETE", "PUT", "BREW"]),
    path=paths,
    query=st.text(max_size=20),
    body=bodies,
    headers=st.dictionaries(
        st.sampled_from(["if-match", "if-none-match", "prefer", "content-type"]), header_texts
    ),
)
def test_whatever_is_asked_there_is_an_answer(
    emulator: Emulator, method: str, path: str, query: str, body: bytes, headers: dict[str, str]
) -> None:
    """A status of HTTP, bytes to send, and the table still whole."""
    admission = Admission(emulator.identity.main, 0, 0.0)
    call = read_call(Request(method, path, query, headers, body, keep_alive=True))
    performed = emulator.dataverse.perform(call, admission, BASE, 1)
    assert 200 <= performed.answer.status < 600
    assert render(performed.answer).startswith(b"HTTP/1.1 ")
    assert all(
        contact.contact_id == key for key, contact in emulator.dataverse.contacts.by_id.items()
    )


@given(st.text(max_size=60), st.binary(max_size=120))
def test_whatever_the_token_endpoint_gets_it_answers(
    emulator: Emulator, tenant: str, body: bytes
) -> None:
    """With a number, and without a token."""
    for asked in (tenant, emulator.identity.tenant_id):
        answer = emulator.sts.token(asked, body, BASE, 0.0)
        assert answer.status in {400, 401}


@given(st.text(max_size=80))
def test_no_text_is_a_token_but_those_that_were_issued(emulator: Emulator, text: str) -> None:
    """Forged, absent, never an exception."""
    assert isinstance(emulator.tokens.judge(text, BASE, 0.0), TokenFault)
    assert isinstance(emulator.tokens.judge(f"Bearer {text}", BASE, 0.0), TokenFault)


@given(st.text(max_size=80))
def test_no_text_is_an_assertion(text: str) -> None:
    """Judged without a certificate in reach."""
    assert is_signed_by(text, [], client_id="c", audiences={"a"}, now_s=0) is False


def test_a_token_ends_is_revoked_and_is_bound_to_its_audience(emulator: Emulator) -> None:
    """Each reason by its name."""
    token = emulator.tokens.issue(
        emulator.identity.main_client_id, BASE, now_s=100.0, lifetime_s=10
    )
    judge = emulator.tokens.judge
    assert not isinstance(judge(f"Bearer {token}", BASE, 109.0), TokenFault)
    assert judge(f"Bearer {token}", BASE, 110.0) is TokenFault.EXPIRED
    assert judge(f"Bearer {token}", "https://other", 101.0) is TokenFault.OTHER_AUDIENCE
    emulator.tokens.revoke_all(101.0)
    assert judge(f"Bearer {token}", BASE, 102.0) is TokenFault.REVOKED


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_can_be_scripted_in_every_shape(code: str) -> None:
    """Status and message come from the table; nothing is left to fill in."""
    for shape in Body:
        answer = Fault(code=code, body=shape).answer()
        assert answer is not None
        assert answer.status == CATALOGUE[code].status
        assert b"{id}" not in answer.body
        assert b"{limit" not in answer.body
        assert shaped(shape, CATALOGUE[code])


def test_every_status_can_be_scripted() -> None:
    """Also those without a name."""
    for status in range(200, 600):
        answer = Fault(status=status).answer()
        assert isinstance(answer, Answer)
        assert render(answer).startswith(f"HTTP/1.1 {status} ".encode())


def test_every_number_of_the_token_service_has_its_error(emulator: Emulator) -> None:
    """The table of section 7, whole."""
    wanted = {7000215, 7000222, 700027, 700016, 90002, 500011, 70011, 90033, 50196}
    assert wanted <= set(ERRORS)
    for number in ERRORS:
        assert f"AADSTS{number}".encode() in emulator.sts.refuse(number, 0.0).body


def test_a_file_of_another_version_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """A new identity is made."""
    (tmp_path / "dynamics-identity.json").write_bytes(b'{"apps": 7}')
    found = open_emulator(tmp_path, journal_file=False)
    assert found.identity.main.secrets
    found.close()
