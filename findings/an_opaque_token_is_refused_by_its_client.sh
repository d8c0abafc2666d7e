#!/usr/bin/env bash
# Question: librdkafka fetches its Kafka token itself (sasl.oauthbearer.method=oidc). The token service answers by RFC 6749: an opaque
#   access_token, token_type, expires_in. Or it gives a JWT without `sub`, as Keycloak's lightweight access tokens are. Is it used?
# Guess: yes: an access token is opaque to the client (RFC 6749, 1.4), and expires_in says how long it lasts; the broker judges it.
# What happens: the client reads the token: it must be a JWT with `exp` and `sub`, else the client never asks the broker. `expires_in` is
#   not read: a token whose exp is 4 s away is fetched again within 4 s, though the answer says an hour. No exception: one event
#   _AUTHENTICATION each 10 s, for which one must poll.
# Versions: confluent-kafka 2.16.1 (librdkafka 2.16.0). Seen: "The token is invalid with less than 2 delimiters", "Expected JSON JWT
#   response with "sub" field"; the usual JWT: no error.
source "$(dirname "$0")/lab.sh"
lab confluent-kafka==2.16.1
"$LAB/bin/python" - <<'PY'
import base64
import http.server
import json
import threading
import time

import confluent_kafka
from confluent_kafka import KafkaError, Producer

asked: list[float] = []
answer: dict[str, object] = {}


class TokenService(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.append(time.monotonic())
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def jwt(**claims: object) -> str:
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    head = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return head + ".c2lnbmF0dXJl"


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenService)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("confluent-kafka", confluent_kafka.version(), "librdkafka", confluent_kafka.libversion()[0])


def refusals(token: str, for_s: float) -> tuple[list[str], int]:
    """What the client says of this token, and how often it asked; the answer always says an hour."""
    answer.update(access_token=token, token_type="Bearer", expires_in=3600)
    asked.clear()
    said: list[str] = []

    def hear(error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            said.append(error.str().rpartition("token: ")[2])

    client = Producer({
        # No broker is needed: the token comes first.
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "worker",
        "sasl.oauthbearer.client.secret": "secret",
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{server.server_port}/token",
        "error_cb": hear,
        "log_level": 0,
    })
    end = time.monotonic() + for_s
    while time.monotonic() < end and not (said and for_s > 5):
        client.poll(0.1)
    return said, len(asked)


now = int(time.time())
usual = refusals(jwt(sub="worker", iat=now, exp=now + 3600), 4)
print("a JWT with sub:", usual)
assert usual == ([], 1), usual
opaque, _ = refusals("2YotnFZFEjr1zCsicMWpAA", 6)
print("an opaque token:", opaque)
assert len(opaque) == 1 and "less than 2 delimiters" in opaque[0], opaque
nameless, _ = refusals(jwt(iat=now, exp=now + 3600), 6)
print("a JWT without sub:", nameless)
assert len(nameless) == 1 and '"sub"' in nameless[0], nameless
now = int(time.time())
short = refusals(jwt(sub="worker", iat=now, exp=now + 4), 4.5)
print("a JWT whose exp is 4 s away, in an answer that says an hour:", short[1], "fetches")
assert short[1] >= 2, short
PY
