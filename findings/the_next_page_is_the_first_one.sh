#!/usr/bin/env bash
# Question: a client of an API has one parameter that goes with every request: httpx.Client(params={"api-version": "9.2"}). It follows
#   the `next` links of the server (Link header, OData's nextLink), which carry the place in their query. Which pages does it get?
# Guess: the first, second and third: parameters are added to what the address has, as requests does.
# What happens: the parameters replace the whole query of the address, silently: the place is gone, and the server gives the first page
#   for ever. `params={}` in a single call empties the query, too (None leaves it). httpx2, which goes on from httpx, does the same.
# Versions: httpx 0.28.1, httpx2 2.16.2, requests 2.34.2.
# Seen: requests: pages 1, 2, 3; httpx and httpx2: pages 1, 1, 1.
source "$(dirname "$0")/lab.sh"
lab httpx==0.28.1 httpx2==2.16.2 requests==2.34.2
"$LAB/bin/python" - <<'PY'
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
import requests


class Pages(http.server.BaseHTTPRequestHandler):
    """Three pages; each names the next one by its address."""

    def do_GET(self) -> None:
        page = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0]) + 1
        host = self.headers["Host"]
        body = {"page": page, "next": f"http://{host}/mentors?after={page}" if page < 3 else None}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=server.serve_forever, daemon=True).start()
FIRST = f"http://127.0.0.1:{server.server_port}/mentors"
EACH = {"api-version": "9.2"}


def pages(client) -> list[int]:
    """Three requests at most, along the links."""
    found, address = [], FIRST
    while address and len(found) < 3:
        body = client.get(address).json()
        found.append(body["page"])
        address = body["next"]
    return found


session = requests.Session()
session.params = EACH
session.trust_env = False
print("requests", requests.__version__, pages(session))
assert pages(session) == [1, 2, 3]
for module in (httpx, httpx2):
    with module.Client(params=EACH, trust_env=False) as client:
        found = pages(client)
        print(module.__name__, module.__version__, found)
        assert found == [1, 1, 1], found
    with module.Client(trust_env=False) as client:
        address = FIRST + "?after=1"
        told = [str(client.build_request("GET", address, params=params).url).partition("?")[2] for params in (None, {}, EACH)]
        print("the query of ?after=1 with None, {} and a parameter:", told)
        assert told == ["after=1", "", "api-version=9.2"], told
PY
