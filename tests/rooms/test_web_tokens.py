"""Who is let in: forty ways to get in without being a coordinator of HLF, each refused by a real
service, and the few ways that are right.
"""

import base64
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hlf_sync.clock import epoch_ms

from tests.fixtures.cluster import Cluster
from tests.fixtures.web import SUBJECT, Issuer, Service, public_jwk, public_pem, serving

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R61")]

# Not used by the issuer: an attacker's own.
STRANGER = Issuer()
SECRET = "a-secret-of-some-forty-bytes-for-the-tests"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def service(
    issuer: Issuer, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    dsn = cluster.dsn(cluster.fresh(), "hlf_web")
    with serving(tmp_path_factory.mktemp("web"), dsn, issuer) as found:
        yield found


@pytest.fixture(scope="module")
def with_secret(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """As Supabase's older projects sign: HS256."""
    dsn = cluster.dsn(cluster.fresh(), "hlf_web")
    folder = tmp_path_factory.mktemp("web-secret")
    with serving(folder, dsn, None, web_jwt_secret=SECRET) as found:
        yield found


def _part(content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _forged(header: object, claims: object, signature: str = "") -> str:
    return f"{_part(header)}.{_part(claims)}.{signature}"


def _hmac(issuer: Issuer, key: bytes, **header: Any) -> str:
    """An HS256 token made by hand: PyJWT refuses to take a public key for a secret."""
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    head = {"alg": "HS256", "typ": "JWT", "kid": "rsa-1", **header}
    signing = f"{_part(head)}.{_part(issuer.claims())}"
    return f"{signing}.{_part(hmac.new(key, signing.encode(), hashlib.sha256).digest())}"


def _altered(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{_part(issuer.claims(sub='somebody-else'))}.{signature}"


def _by_stranger(**header: Any) -> str:
    return STRANGER.token(header=header)


def _embedded(_issuer: Issuer) -> str:
    """The attacker's key stands in the token itself."""
    return _by_stranger(jwk=public_jwk(STRANGER.keys["rsa-1"], "rsa-1"))


def _rsa_as_secret(issuer: Issuer) -> str:
    return _hmac(issuer, public_pem(issuer.keys["rsa-1"]))


def _modulus_as_secret(issuer: Issuer) -> str:
    return _hmac(issuer, public_jwk(issuer.keys["rsa-1"], "rsa-1")["n"].encode())


def _weak(issuer: Issuer) -> str:
    key = rsa.generate_private_key(65_537, 1024)  # noqa: S505 - an attack
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(issuer.claims(), key, "RS256", {"kid": "rsa-1"})


def _zero_ecdsa(issuer: Issuer) -> str:
    """CVE-2022-21449: r = s = 0 verified everything."""
    head = {"alg": "ES256", "kid": "ec-1"}
    return _forged(head, issuer.claims(), _part(b"\0" * 64))


def _mapped(organization: object) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.token(app_metadata={"organization": organization})


NOW = epoch_ms() // 1000

ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "no algorithm": lambda i: _forged({"alg": "none"}, i.claims()),
    "no algorithm, in other letters": lambda i: _forged({"alg": "nOnE"}, i.claims()),
    "no algorithm, with a kid": lambda i: _forged({"alg": "none", "kid": "rsa-1"}, i.claims()),
    "no algorithm, with a signature": lambda i: _forged({"alg": "none"}, i.claims(), "AAAA"),
    "an empty algorithm": lambda i: _forged({"alg": ""}, i.claims()),
    "an algorithm that is a list": lambda i: _forged({"alg": ["RS256"]}, i.claims()),
    "the public key as a shared secret": _rsa_as_secret,
    "the modulus as a shared secret": _modulus_as_secret,
    "an empty shared secret": lambda i: _hmac(i, b""),
    "an RSA key's kid under ES256": lambda _: STRANGER.token(kid="ec-1", header={"kid": "rsa-1"}),
    "an EC key's kid under RS256": lambda _: STRANGER.token(kid="rsa-1", header={"kid": "ec-1"}),
    "RS512 with a key for RS256": lambda i: i.token(alg="RS512"),
    "PS256 with a key for RS256": lambda i: i.token(alg="PS256"),
    "a stranger's key under a known kid": lambda _: _by_stranger(),
    "an unknown kid": lambda _: _by_stranger(kid="another"),
    "no kid, where there are several keys": lambda i: jwt.encode(
        i.claims(), i.keys["rsa-1"], "RS256"
    ),
    "a kid that is a path": lambda _: _by_stranger(kid="../../../../dev/null"),
    "a kid that is SQL": lambda _: _by_stranger(kid="x' UNION SELECT 'key"),
    "a kid that is a number": lambda i: _forged({"alg": "RS256", "kid": 1}, i.claims(), "AAAA"),
    "a kid of ten thousand letters": lambda _: _by_stranger(kid="k" * 10_000),
    "a key of its own in the header": _embedded,
    "a key address of its own": lambda _: _by_stranger(jku="https://attacker.example.org/jwks"),
    "a certificate address of its own": lambda _: _by_stranger(x5u="https://attacker.example.org"),
    "a critical extension that we do not know": lambda i: i.token(
        header={"crit": ["exp"], "exp": NOW}
    ),
    "an unencoded payload": lambda i: i.token(header={"b64": False}),
    "a signature of zeros": _zero_ecdsa,
    "a short RSA key": _weak,
    "claims altered after signing": _altered,
    "no signature": lambda i: i.token().rpartition(".")[0] + ".",
    "expired": lambda i: i.token(exp=NOW - 120),
    "without an end": lambda i: i.token(exp=...),
    "an end that is text": lambda i: i.token(exp="9999999999"),
    "an end that is true": lambda i: _signed(i, {"exp": True}),
    "an end at infinity": lambda i: _signed(i, {"exp": float("inf")}),
    "an end that is not a number": lambda i: _signed(i, {"exp": float("nan")}),
    "not yet valid": lambda i: i.token(nbf=NOW + 3600),
    "issued in the future": lambda i: i.token(iat=NOW + 3600),
    "another issuer": lambda i: i.token(iss="https://issuer.example.org/realms/others"),
    "an issuer that begins alike": lambda i: i.token(
        iss="https://issuer.example.org/realms/mentors.attacker.example.org"
    ),
    "without an issuer": lambda i: i.token(iss=...),
    "another audience": lambda i: i.token(aud="account"),
    "audiences without ours": lambda i: i.token(aud=["account", "hlf-sync-other"]),
    "without an audience": lambda i: i.token(aud=...),
    "without a subject": lambda i: i.token(sub=...),
    "an empty subject": lambda i: i.token(sub=""),
    "a subject that is a number": lambda i: _signed(i, {"sub": 7}),
    "a subject with line ends": lambda i: i.token(sub="a\nb"),
    "a huge token": lambda i: i.token(more="x" * 40_000),
    "four parts": lambda i: i.token() + ".AAAA",
    "no token at all": lambda _: "abc",
    "a header that is a list": lambda i: _forged(["alg"], i.claims(), "AAAA"),
    "a payload that is a list": lambda i: _payload(i, b"[1]"),
    "a payload that is not JSON": lambda i: _payload(i, b"{"),
    "letters that are not ASCII": lambda i: i.token()[:-3] + "æøå",
}

_PATH_AS_NAME: dict[str, Any] = {"app_metadata": ..., "app_metadata.organization": "HLF"}
OTHERS: dict[str, Callable[[Issuer], str]] = {
    "another organisation": _mapped("NKS"),
    "two organisations, as a list": _mapped(["HLF", "NKS"]),
    "ours, as a list": _mapped(["HLF"]),
    "ours, in other letters": _mapped("hlf"),
    "ours, with a blank": _mapped("HLF "),
    "ours, with letters that look alike": _mapped("ＨＬＦ"),
    "a number": _mapped(7),
    "null": _mapped(None),
    "true": _mapped(True),
    "an object": _mapped({"HLF": "HLF"}),
    "empty": _mapped(""),
    "no claim": lambda i: i.token(app_metadata=...),
    "a claim at another place": lambda i: i.token(app_metadata=..., organization="HLF"),
    "a claim that users may set themselves": lambda i: i.token(
        app_metadata=..., user_metadata={"organization": "HLF"}
    ),
    "a claim with the path as its name": lambda i: i.token(**_PATH_AS_NAME),
    "metadata as a list": lambda i: i.token(app_metadata=[{"organization": "HLF"}]),
}


def _signed(issuer: Issuer, changes: dict[str, Any]) -> str:
    """PyJWT checks some claims before it signs; an issuer with a bug does not."""
    return _payload(issuer, json.dumps({**issuer.claims(), **changes}).encode())


def _payload(issuer: Issuer, content: bytes) -> str:
    return jwt.api_jws.encode(content, issuer.keys["rsa-1"], "RS256", {"kid": "rsa-1"})


def _get(service: Service, token: str) -> httpx.Response:
    return service.client.get(
        "/api/v1/pending", headers={b"Authorization": b"Bearer " + token.encode()}
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_this_token_is_refused_and_never_echoed(
    attack: str, service: Service, issuer: Issuer
) -> None:
    token = ATTACKS[attack](issuer)
    answer = _get(service, token)
    assert answer.status_code == 401, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    _is_not_told(answer, service, token)


@pytest.mark.parametrize("attack", OTHERS)
def test_this_organisation_claim_is_not_ours(attack: str, service: Service, issuer: Issuer) -> None:
    token = OTHERS[attack](issuer)
    answer = _get(service, token)
    assert answer.status_code == 403, answer.text
    _is_not_told(answer, service, token)


def _is_not_told(answer: httpx.Response, service: Service, token: str) -> None:
    """Neither in the answer nor in the log."""
    told = answer.text + str(answer.headers) + service.log.read_text()
    assert not any(part in told for part in token.split(".") if len(part) > 4)
    assert SUBJECT not in told


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1", "ed-1"])
def test_a_coordinators_token_is_let_in_whatever_kind_of_key_signed_it(
    kid: str, service: Service, issuer: Issuer
) -> None:
    assert _get(service, issuer.token(kid=kid)).status_code in {200, 503}
    assert (
        service.client.get("/api/v1/mentors/x", headers=issuer.bearer(kid=kid)).status_code == 422
    )


def test_a_token_a_moment_past_its_end_is_within_the_leeway(
    service: Service, issuer: Issuer
) -> None:
    token = issuer.token(exp=epoch_ms() // 1000 - 30)
    assert _get(service, token).status_code in {200, 503}


def test_without_a_token_nobody_is_let_in(service: Service) -> None:
    assert service.client.get("/api/v1/pending").status_code == 401


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "bearer", "Token abc", "Bearer a b"])
def test_an_authorization_that_is_no_bearer_token_is_refused(header: str, service: Service) -> None:
    answer = service.client.get("/api/v1/pending", headers={"Authorization": header})
    assert answer.status_code == 401


def test_two_authorizations_are_refused(service: Service, issuer: Issuer) -> None:
    good = issuer.bearer()["Authorization"]
    headers = [("Authorization", good), ("Authorization", good)]
    assert service.client.get("/api/v1/pending", headers=headers).status_code == 401


def test_a_wrong_token_is_not_saved_by_a_right_cookie(service: Service, issuer: Issuer) -> None:
    headers = {
        "Authorization": "Bearer wrong",
        "Cookie": f"hlf_sync_session={issuer.token()}",
    }
    assert service.client.get("/api/v1/pending", headers=headers).status_code == 401


def test_a_token_in_the_address_is_not_looked_at(service: Service, issuer: Issuer) -> None:
    address = f"/api/v1/pending?access_token={issuer.token()}"
    assert service.client.get(address).status_code == 401


def test_supabases_shared_secret_lets_in_by_hs256_only(
    with_secret: Service, issuer: Issuer
) -> None:
    good = jwt.encode(issuer.claims(role="authenticated"), SECRET, "HS256")
    assert _get(with_secret, good).status_code in {200, 503}
    other = jwt.encode(issuer.claims(), SECRET.ljust(64, "x"), "HS512")
    wrong = jwt.encode(issuer.claims(), "x" * 40, "HS256")
    for token in (other, wrong, issuer.token(), _forged({"alg": "none"}, issuer.claims())):
        assert _get(with_secret, token).status_code == 401


def test_supabases_own_keys_let_in_by_es256(service: Service, issuer: Issuer) -> None:
    token = issuer.token(
        kid="ec-1", aud=["authenticated", "hlf-sync"], role="authenticated", aal="aal1",
        session_id="5a2b", is_anonymous=False, user_metadata={"name": "Kari"},
        app_metadata={"provider": "email", "providers": ["email"], "organization": "HLF"},
    )  # fmt: skip
    assert _get(service, token).status_code in {200, 503}


def test_a_list_counts_only_where_the_setting_says_so(
    cluster: Cluster, issuer: Issuer, tmp_path: Path
) -> None:
    dsn = cluster.dsn(cluster.fresh(), "hlf_web")
    claim = "/https:~1~1hlf.example.org~1organizations[]"
    with serving(tmp_path, dsn, issuer, web_organization_claim=claim) as service:
        name = "https://hlf.example.org/organizations"
        for value, status in [
            (["NKS", "HLF"], 200),
            (["NKS"], 403),
            ("HLF", 403),
            ([["HLF"]], 403),
        ]:
            answer = _get(service, _signed(issuer, {name: value}))
            assert answer.status_code in {status, 503 if status == 200 else status}, value


def test_what_was_refused_is_counted_by_its_reason(service: Service, issuer: Issuer) -> None:
    def count() -> float:
        page = service.client.get("/metrics").text
        name = 'hlf_sync_web_refused_total{reason="expired"} '
        return next(
            float(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name)
        )

    before = count()
    _get(service, issuer.token(exp=NOW - 120))
    assert count() == before + 1


def test_a_stranger_cannot_be_told_by_its_curve(issuer: Issuer, service: Service) -> None:
    """ES384 under the kid of a P-256 key."""
    key = ec.generate_private_key(ec.SECP384R1())
    token = jwt.encode(issuer.claims(), key, "ES384", {"kid": "ec-1"})
    assert _get(service, token).status_code == 401
