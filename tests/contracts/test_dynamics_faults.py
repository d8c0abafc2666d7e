"""What the emulator can be made to do wrong, seen from a client: the faults that the delivery tests
rely on.

If one of these fails, a test of the client that uses that fault proves nothing.
"""

import asyncio
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hlf_sync_sandbox.dynamics.control import ControlError, DynamicsControl, fault_fields
from hlf_sync_sandbox.dynamics.launch import running_emulator
from hlf_sync_sandbox.dynamics.presets import PRESETS

from tests.fixtures.dynamics import CONTACT, VISIBILITY, Organization, emulated


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicsControl]:
    """One emulator for the module."""
    with running_emulator(tmp_path_factory.mktemp("dynamics")) as control:
        yield control


@pytest.fixture
def control(running: DynamicsControl) -> DynamicsControl:
    """The emulator as if new: one visible contact."""
    running.reset(contacts=True, journal=True)
    running.put_contacts({CONTACT: True})
    return running


@pytest.fixture
def emulator(control: DynamicsControl) -> Iterator[Organization]:
    """The emulated organisation, with a token in hand."""
    organization = emulated(control)
    organization.token()
    yield organization
    organization.client.close()


def _hasty(emulator: Organization, seconds: float = 0.2) -> httpx.Response:
    """A PATCH by a client that does not wait long."""
    with httpx.Client(verify=emulator.verify, timeout=seconds, trust_env=False) as client:
        url = f"{emulator.base_url}/api/data/v9.2/contacts({emulator.contact_id})"
        return client.patch(url, json={VISIBILITY: False}, headers=emulator.headers())


@pytest.mark.parametrize(
    ("preset", "error", "applied"),
    [
        (
            "reset-before",
            httpx.RemoteProtocolError,
            False,
        ),  # the ssl module shows a reset as an end; asyncio does not
        ("reset-after", httpx.RemoteProtocolError, True),
        ("answer-lost", httpx.RemoteProtocolError, True),
        ("half-answer", httpx.RemoteProtocolError, True),
        ("garbage", httpx.RemoteProtocolError, False),
        ("hang", httpx.ReadTimeout, False),
        ("hang-applied", httpx.ReadTimeout, True),
    ],
)
def test_each_broken_answer_breaks_as_named(
    emulator: Organization,
    control: DynamicsControl,
    preset: str,
    error: type[Exception],
    *,
    applied: bool,
) -> None:
    """What the client meets, and whether the write happened."""
    control.fault(preset)
    with pytest.raises(error):
        _hasty(emulator)
    assert control.contacts()[CONTACT] is not applied
    control.until(lambda: control.tail(1)[0]["ended_ms"] is not None)
    entry = control.tail(1)[0]
    assert (entry["applied_ms"] is not None, entry["fault"] is not None) == (applied, True)
    assert emulator.patch(CONTACT).status_code == 204


def test_a_slow_answer_trickles_byte_by_byte(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Each byte comes in time, the whole does not: only a total time limit ends it."""
    control.fault("slow-loris", pace_s=0.002)
    with httpx.Client(verify=emulator.verify, timeout=1, trust_env=False) as client:
        started_s = time.monotonic()
        url = f"{emulator.base_url}/api/data/v9.2/WhoAmI"
        with client.stream(
            "GET", url, headers=emulator.headers(), timeout=httpx.Timeout(1, read=0.3)
        ) as _:
            pass
    assert time.monotonic() - started_s > 0.6


async def _raw(
    emulator: Organization, sent: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = emulator.base_url.removeprefix("https://").split(":")
    assert isinstance(emulator.verify, ssl.SSLContext)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=emulator.verify)
    writer.write(sent)
    return reader, writer


def _get(emulator: Organization, path: str) -> bytes:
    host = emulator.base_url.removeprefix("https://")
    return (
        f"GET /api/data/v9.2/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer"
        f" {emulator.token()}\r\n\r\n".encode()
    )


async def test_a_reset_is_a_tcp_reset(emulator: Organization, control: DynamicsControl) -> None:
    """Not an orderly end."""
    control.fault("reset-before")
    reader, writer = await _raw(emulator, _get(emulator, "WhoAmI"))
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_a_stale_connection_ends_after_a_whole_answer(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The answer does not say so: the client finds out at its next request."""
    control.fault("stale-connection")
    reader, writer = await _raw(emulator, _get(emulator, "WhoAmI"))
    received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" not in received
    assert received.endswith(b"}")
    writer.close()


@pytest.mark.parametrize(
    ("body", "check"),
    [
        ("hex", lambda answer: answer.json()["error"]["code"] == "0x80072322"),
        ("decimal", lambda answer: answer.json()["error"]["code"] == "-2147015902"),
        ("upper", lambda answer: answer.json()["error"]["code"] == "0X80072322"),
        ("zero", lambda answer: answer.json()["error"]["code"] == "0x0"),
        ("empty_code", lambda answer: answer.json()["error"]["code"] == ""),
        ("innererror", lambda answer: "stacktrace" in answer.json()["error"]["innererror"]),
        (
            "annotated",
            lambda answer: any(name.startswith("@Microsoft") for name in answer.json()["error"]),
        ),
        ("no_envelope", lambda answer: "ExceptionMessage" in answer.json()),
        ("html", lambda answer: answer.text.startswith("<html>")),
        (
            "truncated",
            lambda answer: answer.text.startswith('{"error"') and not answer.text.endswith("}"),
        ),
        (
            "gzip",
            lambda answer: (
                answer.headers["content-encoding"] == "gzip"
                and answer.json()["error"]["code"] == "0x80072322"
            ),
        ),
        ("empty", lambda answer: answer.content == b""),
    ],
)
def test_an_error_comes_in_each_of_its_shapes(
    emulator: Organization, control: DynamicsControl, body: str, check: object
) -> None:
    """The bodies of section 3, with the status and Retry-After of the fault."""
    control.fault("throttled", body=body, retry_after=17)
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "17")
    assert callable(check)
    assert check(answer)
    assert control.contacts()[CONTACT] is True


def test_broken_gzip_cannot_be_decoded(emulator: Organization, control: DynamicsControl) -> None:
    """The client meets a decoding error, not a body."""
    control.fault("broken-gzip")
    with pytest.raises(httpx.DecodingError):
        emulator.patch(CONTACT)


def test_e9_the_front_end_answers_html(emulator: Organization, control: DynamicsControl) -> None:
    """E9: 502, 503 and 504 carry no JSON."""
    control.script(["bad-gateway", "unavailable", "gateway-timeout"])
    answers = [emulator.patch(CONTACT) for _ in range(3)]
    assert [(answer.status_code, answer.headers["content-type"]) for answer in answers] == [
        (502, "text/html"),
        (503, "text/html"),
        (504, "text/html"),
    ]


def test_e11_a_duplicate_comes_as_500(emulator: Organization, control: DynamicsControl) -> None:
    """E11: the code says permanent, the status does not."""
    control.fault("duplicate")
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, emulator.code(answer)) == (500, "0x80040333")


def test_a_redirect_names_another_host(emulator: Organization, control: DynamicsControl) -> None:
    """For the test that a client does not follow it."""
    control.fault("redirect")
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://redirected.invalid/")


def test_200_with_truncated_json_is_whole_http(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Only the JSON is cut."""
    control.fault("truncated-json")
    answer = emulator.patch(CONTACT)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_late_effect_comes_after_the_answer(
    emulator: Organization, control: DynamicsControl
) -> None:
    """504 now, applied later; the journal has both times."""
    control.fault("late-effect", late_s=0.2)
    assert emulator.patch(CONTACT).status_code == 504
    assert control.contacts()[CONTACT] is True
    assert [entry["left"] for entry in control.in_flight()] == [True]
    control.until(lambda: control.contacts()[CONTACT] is False)
    entry = control.tail(1)[0]
    assert entry["applied_ms"] >= entry["ended_ms"]
    assert control.in_flight() == []


def test_a_held_request_takes_effect_after_a_later_one(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Hold k, answer k+1, then apply k: the late success after the client's time-out."""
    control.hold("k")
    with pytest.raises(httpx.ReadTimeout):
        _hasty(emulator)
    control.until(lambda: control.in_flight()[0]["left"])
    assert emulator.patch(CONTACT, {VISIBILITY: True}).status_code == 204
    assert control.contacts()[CONTACT] is True
    control.until_held("k")
    assert control.release("k") == 1
    control.until(lambda: control.contacts()[CONTACT] is False)
    first, second = control.journal(kind="api")
    assert first["client_gone_ms"] <= second["started_ms"]
    assert first["applied_mono_ms"] > second["applied_mono_ms"]
    assert (second["overlap"], second["unsettled"]) == (0, 1)


def test_a_hold_can_release_itself_after_the_next_answer(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The same order without anybody to release."""
    control.hold("k", release_after=1)
    with pytest.raises(httpx.ReadTimeout):
        _hasty(emulator)
    emulator.patch(CONTACT, {VISIBILITY: True})
    control.until(lambda: control.contacts()[CONTACT] is False)


def test_overlapping_calls_for_one_contact_are_counted(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The oracle of 'never two calls in flight for one mentor'."""
    control.hold("first")
    waiting = threading.Thread(target=lambda: _hasty(emulator, 5))
    waiting.start()
    control.until_held("first")
    emulator.patch(CONTACT)
    control.release()
    waiting.join()
    assert [entry["overlap"] for entry in control.journal(kind="api")] == [0, 1]


def test_faults_choose_their_requests(emulator: Organization, control: DynamicsControl) -> None:
    """By place, by contact, by method; a script reads as one per request."""
    other = str(uuid.uuid4())
    control.put_contacts({other: True})
    control.fault("unavailable", contact=other, times=None)
    control.fault("bad-gateway", nth=2, method="PATCH")
    assert [emulator.patch(CONTACT).status_code for _ in range(3)] == [204, 502, 204]
    assert [emulator.patch(other).status_code for _ in range(2)] == [503, 503]
    control.clear_faults()
    control.script(["unavailable", "pass", "server-error"])
    assert [emulator.patch(CONTACT).status_code for _ in range(4)] == [503, 204, 500, 204]


def test_a_faulty_request_gives_its_place_back(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Among the concurrent ones, and in the list of what is in flight."""
    control.set_limits(concurrency=1)
    control.script(["unavailable", "reset-before", {"preset": "late-effect", "late_s": 0.3}])
    assert emulator.patch(CONTACT).status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        emulator.patch(CONTACT)
    assert control.in_flight() == []
    assert emulator.patch(CONTACT).status_code == 504
    assert emulator.patch(CONTACT).status_code == 429
    control.until(lambda: control.in_flight() == [])
    assert emulator.patch(CONTACT).status_code == 204


def test_chance_is_repeatable_by_its_seed(emulator: Organization, control: DynamicsControl) -> None:
    """The same seed strikes the same requests."""
    runs = []
    for _ in range(2):
        control.clear_faults()
        control.fault("unavailable", probability=0.5, seed=7, times=None)
        runs.append([emulator.patch(CONTACT).status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {204, 503}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_a_fault(control: DynamicsControl, preset: str) -> None:
    """None of them is refused."""
    assert control.fault(preset) > 0


@pytest.mark.parametrize(
    "fault",
    [
        {"wire": "sideways"},
        {"status": 7},
        {"nosuch": 1},
        {"nth": 0},
        {"headers": {"A": "b\r\nc"}},
        {"release_after": 1},
        {"probability": 2},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(
    control: DynamicsControl, fault: dict[str, object]
) -> None:
    """With a text, and nothing is armed."""
    with pytest.raises(ControlError):
        control.script([fault])
    assert control.faults() == []


@pytest.mark.parametrize("mode", ["502", "503", "504"])
def test_an_outage_answers_every_call_and_ends_by_itself(
    emulator: Organization, control: DynamicsControl, mode: str
) -> None:
    """Nothing is applied; tokens still come."""
    control.outage(0.3, mode=mode, retry_after=5)  # type: ignore[arg-type]  # a parameter of the test
    answer = emulator.patch(CONTACT)
    assert (answer.status_code, answer.headers["retry-after"]) == (int(mode), "5")
    assert emulator.ask_token().status_code == 200
    control.until(lambda: control.status()["outage"] is None)
    assert control.contacts()[CONTACT] is True
    assert emulator.patch(CONTACT).status_code == 204


def test_an_outage_can_take_the_token_service_alone(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Calls with a live token go on."""
    control.outage(api=False, token=True)
    assert emulator.ask_token().status_code == 503
    assert emulator.patch(CONTACT).status_code == 204


def test_an_outage_can_refuse_connections_and_come_back_on_the_same_port(
    emulator: Organization, control: DynamicsControl
) -> None:
    """The listener closes, open connections are reset."""
    emulator.patch(CONTACT)
    control.outage(mode="refuse")

    def is_refused() -> bool:
        try:
            _hasty(emulator, 1)
        except httpx.ConnectError:
            return True
        except httpx.HTTPError:
            return False
        return False

    control.until(is_refused)
    control.end_outage()
    control.until(lambda: not is_refused())
    assert _hasty(emulator, 2).status_code == 204


def test_latency_delays_the_effect_too(emulator: Organization, control: DynamicsControl) -> None:
    """A client that gives up early finds the write done later."""
    control.latency(0.4)
    with pytest.raises(httpx.ReadTimeout):
        _hasty(emulator, 0.1)
    assert control.contacts()[CONTACT] is True
    control.until(lambda: control.contacts()[CONTACT] is False)


def test_latency_follows_its_distribution(emulator: Organization, control: DynamicsControl) -> None:
    """Uniform stays within its bounds."""
    control.latency(kind="uniform", low_s=0.01, high_s=0.03)
    for _ in range(5):
        emulator.patch(CONTACT)
    took = [
        entry["ended_mono_ms"] - entry["started_mono_ms"] for entry in control.journal(kind="api")
    ]
    assert all(8 <= each <= 200 for each in took)


def test_the_journal_has_what_assertions_need_and_no_secret(
    emulator: Organization, control: DynamicsControl
) -> None:
    """Ids, conditions, columns, times; never a token or a secret, in memory or on disk."""
    emulator.ask_token()
    emulator.patch(CONTACT, x_correlation_id="c-1", x_ms_client_request_id="r-1")
    entry = control.tail(1)[0]
    assert entry["columns"] == {VISIBILITY: False}
    assert (entry["x_correlation_id"], entry["x_ms_client_request_id"], entry["if_match"]) == (
        "c-1",
        "r-1",
        "*",
    )
    assert (
        entry["has_authorization"],
        entry["has_cookie"],
        entry["status"],
        entry["contact_id"],
    ) == (True, False, 204, CONTACT)
    assert entry["started_ms"] <= entry["applied_ms"] <= entry["ended_ms"]
    file = Path(control.settings["journal_file"]).read_text("utf-8")
    assert emulator.token() not in file
    assert emulator.client_secret not in file
    assert f'"seq":{entry["seq"]},' in file


def test_single_flight_can_be_counted(emulator: Organization, control: DynamicsControl) -> None:
    """Token requests and tokens, apart."""
    before = control.status()
    emulator.ask_token()
    emulator.ask_token(client_secret="wrong")
    after = control.status()
    assert after["token_requests"] - before["token_requests"] == 2
    assert after["tokens_issued"] - before["tokens_issued"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"PATCH /api/data/v9.2/contacts( HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff\xfe%ff%00 HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"POST /api/data/v9.2/$batch HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
    ],
)
def test_no_bytes_end_the_process(
    emulator: Organization, control: DynamicsControl, sent: bytes
) -> None:
    """Each gets an answer in the 4xx or 5xx, and the next client is served."""
    host, port = emulator.base_url.removeprefix("https://").split(":")
    assert isinstance(emulator.verify, ssl.SSLContext)
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        emulator.verify.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall(sent)
        status = int(tls.recv(65536).split(b" ", 2)[1])
    assert 400 <= status < 600
    assert emulator.patch(CONTACT).status_code == 204
    assert control.contacts()[CONTACT] is False


@pytest.mark.requirement("R25")
def test_tls_below_1_2_and_plain_text_are_refused(emulator: Organization) -> None:
    """Neither gets an HTTP answer."""
    host, port = emulator.base_url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/" not in plain.recv(100)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(cadata=Path(emulator.ca_file).read_text("utf-8"))
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        pytest.raises(OSError, match=r"."),
    ):
        old.wrap_socket(plain, server_hostname=host)


def test_orders_need_the_control_token(control: DynamicsControl) -> None:
    """Another process on the machine cannot steer it by chance."""
    with pytest.raises(ControlError, match="control_token"):
        DynamicsControl(control.settings["control_url"], "wrong").contacts()


async def test_pipelined_requests_are_answered_in_order(
    emulator: Organization, control: DynamicsControl
) -> None:
    """HTTP/1.1 keep-alive: one after another on each connection."""
    control.latency(0.02)
    reader, writer = await _raw(
        emulator, b"".join(_get(emulator, path) for path in ("WhoAmI", "contacts(7)", "WhoAmI"))
    )
    received = b""
    while received.count(b"HTTP/1.1 ") < 3:
        received += await asyncio.wait_for(reader.read(65536), 5)
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"400", b"200"]


def test_a_preset_may_be_spelt_as_the_error_code_and_a_slip_is_named() -> None:
    assert fault_fields("not_found") == fault_fields("not-found")
    with pytest.raises(ControlError, match="did you mean not-found"):
        fault_fields("not-foud")
