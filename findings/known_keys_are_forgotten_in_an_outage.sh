#!/usr/bin/env bash
# Question: PyJWT's PyJWKClient has fetched the key set; then the key server is away for a while. Are tokens of known keys accepted?
# Guess: yes: the keys are known, and caching is on by default.
# What happens: after `lifespan` (five minutes by default) the cached set is dropped before the fetch that replaces it. While the
#   server is away every token is refused, also those whose key was in use a moment before. And a token whose `iat` is half a
#   minute ahead (a clock that runs fast) is refused as "not yet valid (iat)" unless leeway is given, which RFC 7519 does not ask for.
# Versions: PyJWT 2.15.1. Seen: PyJWKClientConnectionError with lifespan=1 after 1 s; ImmatureSignatureError.
source "$(dirname "$0")/lab.sh"
lab pyjwt==2.15.1 cryptography==46.0.3
"$LAB/bin/python" - <<'PY'
import http.server
import json
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

key = ec.generate_private_key(ec.SECP256R1())
jwk = json.loads(ECAlgorithm.to_jwk(key.public_key())) | {"kid": "a", "use": "sig", "alg": "ES256"}
is_up = threading.Event()
is_up.set()


class Keys(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if not is_up.is_set():
            self.send_error(503)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"keys": [jwk]}).encode())

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = jwt.PyJWKClient(f"http://127.0.0.1:{server.server_port}/", lifespan=1)
token = jwt.encode({"sub": "x"}, key, "ES256", headers={"kid": "a"})
print("PyJWT", jwt.__version__, "server up:", client.get_signing_key_from_jwt(token).key_id)
is_up.clear()
print("server away, within the lifespan:", client.get_signing_key_from_jwt(token).key_id)
time.sleep(1.2)
try:
    client.get_signing_key_from_jwt(token)
except jwt.PyJWKClientConnectionError as error:
    print("server away, after the lifespan:", type(error).__name__)
else:
    raise SystemExit("the known key serves on now")
ahead = jwt.encode({"sub": "x", "iat": int(time.time()) + 30}, key, "ES256")
try:
    jwt.decode(ahead, key.public_key(), ["ES256"])
except jwt.ImmatureSignatureError as error:
    print("iat 30 s ahead:", error)
else:
    raise SystemExit("an iat ahead is taken now")
assert jwt.decode(ahead, key.public_key(), ["ES256"], leeway=60)["sub"] == "x"
PY
