"""How Dataverse and Entra ID answer: the same facts over the emulator and, when the environment
names one, a real tenant.

Examples E1 … E12 are requests and answers of Microsoft's documentation, numbered here. Tests that need the service
to be steered run over the emulator only; a real tenant gets E1, E2, E4, the representation and the
refused token requests, nothing that creates or deletes.
"""

import uuid
from collections.abc import Iterator

import httpx
import pytest
from hlf_sync_sandbox.dynamics.control import DynamicsControl
from hlf_sync_sandbox.dynamics.launch import running_emulator

from tests.fixtures.dynamics import CONTACT, MISSING, VISIBILITY, Organization, emulated, real

WRITE = {VISIBILITY: False}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
def control(running: DynamicsControl) -> DynamicsControl:
    """The emulator as if new: one visible contact, an empty journal, no faults."""
    running.reset(contacts=True, journal=True)
    running.token_settings(lifetime_s=3599, refresh_in_s=None)
    running.set_app(secret_expired=False, app_user=True)
    running.put_contacts({CONTACT: True})
    return running


@pytest.fixture
def emulator(control: DynamicsControl) -> Iterator[Organization]:
    """The emulated organisation."""
    organization = emulated(control)
    yield organization
    organization.client.close()


@pytest.fixture(params=["emulator", "real"])
def organization(request: pytest.FixtureRequest) -> Iterator[Organization]:
    """Both kinds of organisation."""
    if request.param == "emulator":
        yield request.getfixturevalue("emulator")
    else:
        with real() as found:
            yield found


# ---- both: emulator and real tenant


@pytest.mark.requirement("R22")
def test_e1_a_patch_of_a_known_contact_is_204_without_a_body(organization: Organization) -> None:
    """E1, with the ids and debugging headers that every answer carries."""
    answer = organization.patch(organization.contact_id)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["odata-version"] == "4.0"
    assert {
        "x-ms-service-request-id",
        "req_id",
        "x-ms-ratelimit-burst-remaining-xrm-requests",
    } <= set(answer.headers)
    assert "ARRAffinity=" in answer.headers["set-cookie"]


@pytest.mark.requirement("R22")
def test_e2_a_patch_of_an_unknown_contact_with_if_match_is_404(organization: Organization) -> None:
    """E2: nothing is created."""
    answer = organization.patch(str(uuid.uuid4()))
    assert (answer.status_code, organization.code(answer)) == (404, "0x80040217")


def test_e4_a_stale_entity_tag_is_412(organization: Organization) -> None:
    """E4."""
    answer = organization.patch(
        organization.contact_id, {organization.column: False}, If_Match='W/"1"'
    )
    assert (answer.status_code, organization.code(answer)) == (412, "0x80060882")


def test_the_current_entity_tag_lets_a_write_pass_once(organization: Organization) -> None:
    """The version rises with the write, so the same tag is stale afterwards."""
    path = f"contacts({organization.contact_id})?$select={organization.column}"
    tag = organization.call("GET", path).json()["@odata.etag"]
    body = {organization.column: False}
    assert organization.patch(organization.contact_id, body, If_Match=tag).status_code == 204
    assert organization.patch(organization.contact_id, body, If_Match=tag).status_code == 412


def test_return_representation_gives_the_selected_columns(organization: Organization) -> None:
    """200 with the row instead of 204."""
    body = {organization.column: False}
    answer = organization.patch(
        organization.contact_id,
        body,
        query=f"?$select={organization.column},modifiedon",
        Prefer="return=representation",
    )
    assert (answer.status_code, answer.headers["preference-applied"]) == (
        200,
        "return=representation",
    )
    content = answer.json()
    assert content[organization.column] is False
    assert {"@odata.context", "@odata.etag", "contactid", "modifiedon"} <= set(content)


def test_e10_an_unknown_column_is_400(organization: Organization) -> None:
    """E10."""
    assert (
        organization.patch(organization.contact_id, {"new_nosuchcolumn": True}).status_code == 400
    )


def test_who_am_i_names_user_unit_and_organisation(organization: Organization) -> None:
    """The request that writes nothing, for doctor."""
    answer = organization.call("GET", "WhoAmI")
    assert answer.status_code == 200
    assert {"UserId", "BusinessUnitId", "OrganizationId"} <= set(answer.json())


def test_a_call_without_a_token_is_401_with_a_challenge(organization: Organization) -> None:
    """E8: the challenge is not RFC-shaped."""
    answer = organization.patch(organization.contact_id, Authorization=None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer authorization_uri=")


def test_e12_a_wrong_secret_is_invalid_client(organization: Organization) -> None:
    """E12."""
    answer = organization.ask_token(client_secret="wrong")
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (
        401,
        "invalid_client",
        [7000215],
    )


def test_an_unknown_tenant_is_90002(organization: Organization) -> None:
    """At both addresses of the token service."""
    tenant = str(uuid.uuid4())
    discovery = organization.client.get(
        f"{organization.authority}/{tenant}/v2.0/.well-known/openid-configuration"
    )
    for answer in (organization.ask_token(tenant=tenant), discovery):
        assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


# ---- the emulator alone: what a real tenant cannot be made to do, or must not be


@pytest.mark.parametrize(
    ("changes", "status", "number"),
    [
        ({"client_id": str(uuid.UUID(int=7))}, 400, 700016),
        ({"scope": "https://other.crm.dynamics.com/.default"}, 400, 500011),
        ({"scope": "openid"}, 400, 70011),
        ({"scope": ""}, 400, 900144),
        ({"grant_type": "password"}, 400, 70003),
        ({"client_secret": ""}, 401, 7000216),
        (
            {
                "client_secret": "",
                "client_assertion": "a.b.c",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            },
            401,
            700027,
        ),
    ],
)
def test_each_wrong_token_request_has_its_number(
    emulator: Organization, changes: dict[str, str], status: int, number: int
) -> None:
    """The table of section 7."""
    answer = emulator.ask_token(**changes)
    assert (answer.status_code, answer.json()["error_codes"]) == (status, [number])


@pytest.mark.parametrize(
    "number", [7000215, 7000222, 700027, 700016, 90002, 500011, 70011, 90033, 50196]
)
def test_each_number_can_be_scripted(
    emulator: Organization, control: DynamicsControl, number: int
) -> None:
    """One request meets it, the next does not."""
    control.fault(target="token", aadsts=number)
    assert emulator.ask_token().json()["error_codes"] == [number]
    assert emulator.ask_token().status_code == 200


def test_an_expired_secret_is_7000222_until_it_is_renewed(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The switch, and back."""
    control.set_app(secret_expired=True)
    assert emulator.ask_token().json()["error_codes"] == [7000222]
    control.set_app(secret_expired=False)
    assert emulator.ask_token().status_code == 200


def test_a_rotated_secret_replaces_the_old_one(
    emulator: Organization, control: DynamicsControl
) -> None:
    """dynamics.json shows the new one."""
    control.set_secret("rotated-once")
    try:
        assert emulator.ask_token().json()["error_codes"] == [7000215]
        assert emulator.ask_token(client_secret="rotated-once").status_code == 200
    finally:
        control.set_secret(emulator.client_secret)


def test_revoked_tokens_are_401_and_new_ones_work(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The revoke-now switch; the body's shape is a switch too."""
    assert emulator.patch(CONTACT).status_code == 204
    control.revoke_tokens()
    refused = emulator.patch(CONTACT)
    assert (refused.status_code, refused.content) == (401, b"")
    control.switches(unauthorized_body="json")
    assert emulator.code(emulator.patch(CONTACT)) == "0x8005f101"
    emulator.tokens.clear()
    assert emulator.patch(CONTACT).status_code == 204


def test_an_expired_token_is_401(emulator: Organization, control: DynamicsControl) -> None:
    """A token with no life left."""
    control.token_settings(lifetime_s=0)
    assert emulator.patch(CONTACT).status_code == 401


def test_a_token_is_good_for_its_own_host_only(
    emulator: Organization, control: DynamicsControl
) -> None:
    """`aud` is bound to the organisation's address."""
    other = emulator.base_url.replace("127.0.0.1", "localhost")
    token = emulator.ask_token(scope=f"{other}/.default").json()["access_token"]
    assert emulator.patch(CONTACT, Authorization=f"Bearer {token}").status_code == 401
    assert control.contacts()[CONTACT] is True


@pytest.mark.parametrize(
    "token",
    [
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Basic eA==",
        "bearer",
        "Bearer a.b.c.d",
        "Bearer \xff.é.ß",
    ],
)
def test_a_forged_token_is_401(emulator: Organization, token: str) -> None:
    """Whatever is in the header."""
    headers = emulator.headers() | {"Authorization": token}
    raw = [(name.encode(), value.encode("utf-8")) for name, value in headers.items()]
    answer = emulator.client.patch(
        f"{emulator.base_url}/api/data/v9.2/contacts({CONTACT})", headers=raw, json=WRITE
    )
    assert answer.status_code == 401


def test_the_token_answer_can_ask_for_an_early_refresh(
    emulator: Organization, control: DynamicsControl
) -> None:
    """expires_in and refresh_in are settings."""
    control.token_settings(lifetime_s=299, refresh_in_s=100)
    content = emulator.ask_token().json()
    assert (content["expires_in"], content["refresh_in"], content["token_type"]) == (
        299,
        100,
        "Bearer",
    )


@pytest.mark.requirement("R22")
def test_e3_a_forgotten_if_match_creates_a_contact(
    emulator: Organization, control: DynamicsControl
) -> None:
    """E3: the regression that the emulator makes visible."""
    answer = emulator.patch(MISSING, If_Match=None)
    assert (answer.status_code, answer.headers["odata-entityid"]) == (
        204,
        f"{emulator.base_url}/api/data/v9.2/contacts({MISSING})",
    )
    assert control.contacts()[MISSING] is False
    assert control.tail(1)[0]["created"] is True


def test_if_none_match_star_only_creates(emulator: Organization) -> None:
    """The opposite of If-Match: *."""
    assert emulator.patch(CONTACT, If_Match=None, If_None_Match="*").status_code == 412
    assert emulator.patch(MISSING, If_Match=None, If_None_Match="*").status_code == 204


@pytest.mark.parametrize(
    ("switch", "code"),
    [
        ({"can_write": False}, "0x80040220"),
        ({"app_user": False}, "0x80072560"),
        ({"column_secured": True}, "0x8004f507"),
    ],
)
def test_e5_and_e6_what_is_switched_off_is_403(
    emulator: Organization, control: DynamicsControl, switch: dict[str, bool], code: str
) -> None:
    """Privilege, application user, secured column: nothing is applied."""
    control.switches(**switch)
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, emulator.code(answer)) == (403, code)
    assert control.contacts()[CONTACT] is True


def test_least_privilege_refuses_create_and_delete(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Delete always, create when switched off."""
    control.switches(can_create=False)
    assert emulator.code(emulator.patch(MISSING, If_Match=None)) == "0x80040220"
    assert emulator.code(emulator.call("DELETE", f"contacts({CONTACT})")) == "0x80040220"


def test_an_app_without_application_user_is_not_a_member(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Entra knows it, the organisation does not."""
    stranger = str(uuid.uuid4())
    control.set_app(stranger, secret="a-secret", app_user=False)
    token = emulator.ask_token(client_id=stranger, client_secret="a-secret").json()["access_token"]
    answer = emulator.patch(CONTACT, Authorization=f"Bearer {token}")
    assert (answer.status_code, emulator.code(answer)) == (403, "0x80072560")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PATCH", "Contacts(6f1a1f3c-0000-4000-8000-000000000001)", 400),
        ("PATCH", "accounts(6f1a1f3c-0000-4000-8000-000000000001)", 400),
        ("PATCH", "contacts('6f1a1f3c-0000-4000-8000-000000000001')", 400),
        ("PATCH", "contacts(7)", 400),
        ("PATCH", "contacts(new_unknownkey='x')", 400),
        ("PATCH", "contacts", 405),
        ("GET", "accounts", 400),
        ("GET", "EntityDefinitions(LogicalName='account')", 400),
        ("GET", "", 400),
        ("PUT", "contacts(6f1a1f3c-0000-4000-8000-000000000001)", 405),
        ("POST", "contacts(6f1a1f3c-0000-4000-8000-000000000001)", 405),
        ("POST", "WhoAmI", 405),
        ("GET", "$batch", 405),
        ("PATCH", "contacts(contactid=6F1A1F3C-0000-4000-8000-000000000001)", 204),
        ("PATCH", "contacts%286f1a1f3c-0000-4000-8000-000000000001%29", 204),
    ],
)
def test_routing_knows_its_addresses_and_no_others(
    emulator: Organization, method: str, path: str, status: int
) -> None:
    """Set names are case-sensitive, ids are not; the wrong method is 405."""
    assert emulator.call(method, path, json=WRITE).status_code == status


def test_a_wrong_api_version_is_not_parsed(emulator: Organization) -> None:
    """0x80060888, as a missing resource is."""
    answer = emulator.client.patch(
        f"{emulator.base_url}/api/data/v19.2/contacts({CONTACT})",
        headers=emulator.headers(),
        json=WRITE,
    )
    assert (answer.status_code, emulator.code(answer)) == (400, "0x80060888")


def test_alternate_keys_find_quote_and_create(emulator: Organization) -> None:
    """A miss is 404 with If-Match, and creates without: the worst place to forget it."""
    assert emulator.code(emulator.patch("new_mentorref='O''Brien'")) == "0x80060891"
    assert emulator.patch("new_mentorref='O%27%27Brien%2F1'", If_Match=None).status_code == 204
    found = emulator.patch(
        "new_mentorref='O''Brien%2F1'",
        query="?$select=new_mentorref",
        Prefer="return=representation",
    )
    assert found.json()["new_mentorref"] == "O'Brien/1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"new_showonwebsite":"yes"}', "0x80048d19"),
        (b'{"new_showonwebsite":1}', "0x80048d19"),
        (b'{"modifiedon":7}', "0x80048d19"),
        (b'{"new_showonwebsite":', "0x80048d19"),
        (b"", "0x80048d19"),
        (b"[]", "0x80048d19"),
        (b"\xff\xfe", "0x80048d19"),
        (b'{"contactid":"6f1a1f3c-0000-4000-8000-0000000000ff"}', "0x80048d19"),
        (b'{"new_mentorref":"' + b"x" * 101 + b'"}', "0x80044331"),
        (b'{"new_showonwebsite":' + b"[" * 900 + b"]" * 900 + b"}", "0x80048d19"),
    ],
)
def test_a_bad_payload_is_400_and_changes_nothing(
    emulator: Organization, control: DynamicsControl, body: bytes, code: str
) -> None:
    """Wrong type, broken JSON, another row's id, too long, too deep."""
    answer = emulator.call("PATCH", f"contacts({CONTACT})", content=body)
    assert (answer.status_code, emulator.code(answer)) == (400, code)
    assert control.contacts()[CONTACT] is True


def test_a_missing_content_type_is_refused(emulator: Organization) -> None:
    """A 4xx; which one is unverified."""
    answer = emulator.call(
        "PATCH", f"contacts({CONTACT})", content=b"{}", headers=emulator.headers(Content_Type=None)
    )
    assert answer.status_code == 415


def test_an_equal_value_raises_the_version_and_runs_the_plug_in(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Writing what is there is a write."""
    before, runs = control.rows(CONTACT)[0]["version"], control.status()["plug_in_runs"]
    for _ in range(2):
        emulator.patch(CONTACT, {VISIBILITY: True})
    assert control.rows(CONTACT)[0]["version"] > before
    assert control.status()["plug_in_runs"] == runs + 2


def test_an_unchanged_row_is_304(emulator: Organization) -> None:
    """GET with If-None-Match."""
    path = f"contacts({CONTACT})?$select={VISIBILITY}"
    tag = emulator.call("GET", path).json()["@odata.etag"]
    assert (
        emulator.call("GET", path, headers=emulator.headers(If_None_Match=tag)).status_code == 304
    )


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"requests": 2}, "0x80072322"),
        ({"concurrency": 1}, "0x80072326"),
        ({"execution_s": 0.0001}, "0x80072321"),
    ],
)
def test_e7_each_limit_refuses_with_its_code(
    emulator: Organization, control: DynamicsControl, limits: dict[str, float], code: str
) -> None:
    """429 with an integer Retry-After; nothing is applied."""
    control.set_limits(**limits)
    if "concurrency" in limits:
        control.hold("busy")
        with (
            httpx.Client(verify=emulator.verify, timeout=0.2) as hasty,
            pytest.raises(httpx.ReadTimeout),
        ):
            hasty.patch(
                f"{emulator.base_url}/api/data/v9.2/contacts({CONTACT})",
                json=WRITE,
                headers=emulator.headers(),
            )
    else:
        control.latency(0.002)
        for _ in range(2):
            emulator.patch(CONTACT, {VISIBILITY: True})
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, emulator.code(answer)) == (429, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert control.contacts()[CONTACT] is True
    control.release()


def test_retry_after_grows_while_the_client_goes_on(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Pushing on extends the wait."""
    control.set_limits(requests=1, time_scale=10)
    emulator.patch(CONTACT)
    waits = [int(emulator.patch(CONTACT).headers["retry-after"]) for _ in range(5)]
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]


def test_limits_are_per_server_and_the_cookie_pins(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Who keeps the affinity cookie meets one server's limit; who does not is spread."""
    control.switches(servers=8)
    cookies = {emulator.patch(CONTACT).headers["set-cookie"].partition(";")[0] for _ in range(60)}
    assert len(cookies) > 1
    pinned = cookies.pop()
    control.set_limits(requests=3, forget=True)
    statuses = [emulator.patch(CONTACT, Cookie=pinned).status_code for _ in range(4)]
    assert statuses == [204, 204, 204, 429]
    assert len({entry["server"] for entry in control.tail(3) if entry["server"] is not None}) == 1
    assert control.tail(1)[0]["has_cookie"] is True


def test_the_remaining_time_has_a_thousands_separator(
    emulator: Organization, control: DynamicsControl
) -> None:
    """A naive float() crashes on it."""
    control.set_limits(forget=True)
    headers = emulator.patch(CONTACT).headers
    assert headers["x-ms-ratelimit-burst-remaining-xrm-requests"] == "5999"
    assert headers["x-ms-ratelimit-time-remaining-xrm-requests"] == "1,200.00"
    assert headers["x-ms-dop-hint"] == "4"


def _batch(
    emulator: Organization, parts: list[str], *, prefer: str | None = None
) -> httpx.Response:
    lines = "".join(
        "--b1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding:"
        f" binary\r\n\r\n{part}\r\n"
        for part in parts
    )
    headers = emulator.headers(
        Content_Type='multipart/mixed; boundary="b1"', Prefer=prefer, If_Match=None
    )
    return emulator.call("POST", "$batch", content=f"{lines}--b1--\r\n".encode(), headers=headers)


def _part(contact_id: str, *, value: str = "false", version: str = "HTTP/1.1") -> str:
    return (
        f"PATCH /api/data/v9.2/contacts({contact_id}) {version}\r\nContent-Type: application/json;"
        " type=entry\r\n"
        f'If-Match: *\r\n\r\n{{"{VISIBILITY}":{value}}}'
    )


def _change_set(*parts: str) -> str:
    inner = "".join(
        "--c1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding:"
        f" binary\r\nContent-ID: {number}\r\n\r\n{part}\r\n"
        for number, part in enumerate(parts, 1)
    )
    return f"{inner}--c1--"


def _with_change_set(emulator: Organization, *parts: str) -> httpx.Response:
    body = (
        "--b1\r\nContent-Type: multipart/mixed;"
        f' boundary="c1"\r\n\r\n{_change_set(*parts)}\r\n--b1--\r\n'
    )
    headers = emulator.headers(Content_Type="multipart/mixed;boundary=b1", If_Match=None)
    return emulator.call("POST", "$batch", content=body.encode(), headers=headers)


def test_a_batch_stops_at_its_first_failure_unless_told_to_go_on(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The first failure becomes the outer status; with continue-on-error all are tried."""
    other = str(uuid.uuid4())
    control.put_contacts({other: True})
    parts = [_part(CONTACT), _part(MISSING), _part(other)]
    stopped = _batch(emulator, parts)
    assert (stopped.status_code, control.contacts()) == (404, {CONTACT: False, other: True})
    went_on = _batch(emulator, parts, prefer="odata.continue-on-error")
    assert went_on.status_code == 200
    assert [line for line in went_on.text.splitlines() if line.startswith("HTTP/1.1")] == [
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 204 No Content",
    ]
    assert control.contacts() == {CONTACT: False, other: False}
    assert [part["status"] for part in control.tail(1)[0]["parts"]] == [204, 404, 204]


def test_a_change_set_is_all_or_nothing(emulator: Organization, control: DynamicsControl) -> None:
    """A failure undoes what came before it in the set."""
    failed = _with_change_set(emulator, _part(CONTACT), _part(MISSING))
    assert (failed.status_code, control.contacts()) == (404, {CONTACT: True})
    assert _with_change_set(emulator, _part(CONTACT)).status_code == 200
    assert control.contacts() == {CONTACT: False}


def test_an_inner_429_stands_for_itself(emulator: Organization, control: DynamicsControl) -> None:
    """Scripted for one part."""
    control.fault("throttled", target="part", nth=2)
    answer = _batch(emulator, [_part(CONTACT), _part(CONTACT)], prefer="odata.continue-on-error")
    assert answer.status_code == 200
    assert "HTTP/1.1 429" in answer.text


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([_part(CONTACT, version="HTTP/2")], 400),
        ([_part(CONTACT)] * 1001, 400),
        (["nonsense"], 400),
    ],
)
def test_a_malformed_batch_is_400_and_changes_nothing(
    emulator: Organization, control: DynamicsControl, parts: list[str], status: int
) -> None:
    """The inner line must say HTTP/1.1; 1,001 operations are too many."""
    assert _batch(emulator, parts).status_code == status
    assert control.contacts()[CONTACT] is True


def test_update_multiple_is_all_or_nothing(
    emulator: Organization, control: DynamicsControl
) -> None:
    """One unknown row and none is written."""

    def rows(*ids: str) -> dict[str, object]:
        return {
            "Targets": [
                {
                    "@odata.type": "Microsoft.Dynamics.CRM.contact",
                    "contactid": each,
                    VISIBILITY: False,
                }
                for each in ids
            ]
        }

    path = "contacts/Microsoft.Dynamics.CRM.UpdateMultiple"
    assert emulator.call("POST", path, json=rows(CONTACT, MISSING)).status_code == 404
    assert control.contacts() == {CONTACT: True}
    assert emulator.call("POST", path, json=rows(CONTACT)).status_code == 204
    assert control.contacts() == {CONTACT: False}
    assert emulator.call("POST", path, json={"Targets": [7]}).status_code == 400


# ---- collections


def _listed(emulator: Organization, query: str, prefer: str | None = None) -> httpx.Response:
    return emulator.client.get(
        f"{emulator.base_url}/api/data/v9.2/{query}", headers=emulator.headers(Prefer=prefer)
    )


def test_a_collection_comes_in_pages_with_next_links(
    emulator: Organization, control: DynamicsControl
) -> None:
    """As many rows as were preferred; the link repeats the question; the last page has none."""
    ids = sorted(str(uuid.uuid4()) for _ in range(5))
    control.put_contacts({CONTACT: False} | dict.fromkeys(ids, True))
    query = f"contacts?$select=contactid,{VISIBILITY}&$filter={VISIBILITY} eq true&$count=true"
    pages = [_listed(emulator, query, "odata.maxpagesize=2")]
    while link := pages[-1].json().get("@odata.nextLink"):
        pages.append(
            emulator.client.get(link, headers=emulator.headers(Prefer="odata.maxpagesize=2"))
        )
    bodies = [page.json() for page in pages]
    assert [len(body["value"]) for body in bodies] == [2, 2, 1]
    assert [row["contactid"] for body in bodies for row in body["value"]] == ids
    assert bodies[0]["@odata.count"] == 5
    assert pages[0].headers["preference-applied"] == "odata.maxpagesize=2"
    assert set(bodies[0]["value"][0]) == {"@odata.etag", "contactid", VISIBILITY}


def test_a_row_that_is_written_between_two_pages_moves_no_other(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Pages go by the primary key."""
    ids = sorted(str(uuid.uuid4()) for _ in range(4))
    control.put_contacts(dict.fromkeys(ids, True))
    query = f"contacts?$select=contactid&$filter={VISIBILITY} eq true"
    first = _listed(emulator, query, "odata.maxpagesize=2").json()
    control.put_contacts({ids[0]: False})
    second = emulator.client.get(first["@odata.nextLink"], headers=emulator.headers()).json()
    rows = [row["contactid"] for row in first["value"] + second["value"]]
    assert set(ids) <= set(rows)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(
    ("query", "status", "count"),
    [
        ("contacts?$top=1", 200, 1),
        (f"contacts?$filter={VISIBILITY} ne true", 200, 1),
        (f"contacts?$filter={VISIBILITY} eq null", 200, 0),
        (f"contacts?$filter={VISIBILITY} eq true and contactid eq '{CONTACT}'", 200, 1),
        (f"contacts?$filter={VISIBILITY} eq 1", 400, None),
        (f"contacts?$filter={VISIBILITY} eq 'yes'", 400, None),
        ("contacts?$filter=nothing eq true", 400, None),
        (f"contacts?$filter={VISIBILITY} is true", 400, None),
        ("contacts?$select=nothing", 400, None),
        ("contacts?$top=some", 400, None),
        ("contacts?$apply=x", 400, None),
        ("EntityDefinitions?$filter=EntitySetName eq 'contacts'", 200, 1),
        ("EntityDefinitions?$filter=LogicalName eq 'account'", 200, 0),
    ],
)
def test_a_collection_knows_what_it_is_asked(
    emulator: Organization, control: DynamicsControl, query: str, status: int, count: int | None
) -> None:
    """A wrong name, a wrong type, a grammar it does not have: 400."""
    control.put_contacts({CONTACT: True, MISSING: False})
    answer = _listed(emulator, query)
    assert answer.status_code == status
    if count is not None:
        assert len(answer.json()["value"]) == count


def test_a_table_tells_its_primary_key(emulator: Organization) -> None:
    """What generic clients ask first."""
    query = "EntityDefinitions(LogicalName='contact')?$select=EntitySetName,PrimaryIdAttribute"
    body = _listed(emulator, query).json()
    assert (body["EntitySetName"], body["PrimaryIdAttribute"]) == ("contacts", "contactid")
    assert "SchemaName" not in body


def test_without_the_right_to_read_there_is_no_collection(
    emulator: Organization, control: DynamicsControl
) -> None:
    """prvReadContact."""
    control.switches(can_read=False)
    assert _listed(emulator, "contacts").status_code == 403
