#!/usr/bin/env bash
# Question: schemathesis tests an API with a token that has expired: every operation answers 401. (Or the data is not there: always 404.)
#   With which exit status does the run end?
# Guess: 1: no operation ever answered with a success, and CI must not be green when nothing was tested.
# What happens: 0. 401 and 404 are answers that the document names, so every case passes; a warning in the text ("Authentication
#   failed", "Missing test data") is all that tells it. Only an undeclared method has to answer 405, as frameworks do by themselves.
# Versions: schemathesis 4.32.5. Seen: exit 0 with "operations returned only 401/403 responses" and with "repeatedly returned 404".
source "$(dirname "$0")/lab.sh"
lab schemathesis==4.32.5
cd "$LAB"
bin/python - <<'PY'
import http.server
import json
import re
import subprocess
import threading
from importlib.metadata import version

MENTOR = {"application/json": {"schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}}}
REFUSED = {str(code): {"description": "no"} for code in (400, 401, 404)}
NUMBER = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "mentors", "version": "1"},
    "paths": {
        "/mentors": {"get": {"responses": {"200": {"description": "all", "content": MENTOR}, **REFUSED}}},
        "/mentors/{id}": {
            "get": {"parameters": [NUMBER], "responses": {"200": {"description": "one", "content": MENTOR}, **REFUSED}}
        },
    },
}


def serve(code: int) -> int:
    """An API that gives this answer to every GET, and 405 to other methods."""

    class Api(http.server.BaseHTTPRequestHandler):
        def end(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(code if self.command == "GET" else 405)
            if self.command != "GET":
                self.send_header("Allow", "GET")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def __getattr__(self, name: str):
            if name.startswith("do_"):
                return self.end
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


with open("openapi.json", "w", encoding="utf-8") as file:
    json.dump(DOCUMENT, file)
print("schemathesis", version("schemathesis"))
for code, warning in ((401, r"returned only 401/403"), (404, r"repeatedly returned 404")):
    command = ["bin/schemathesis", "run", "openapi.json", "--url", f"http://127.0.0.1:{serve(code)}"]
    ran = subprocess.run(
        [*command, "--max-examples", "5", "--seed", "1", "--no-color"], capture_output=True, text=True, timeout=600
    )
    told = re.search(rf"^.*{warning}.*$", ran.stdout, re.MULTILINE)
    print(f"every answer is {code}: exit {ran.returncode};", told[0].strip() if told else ran.stdout)
    assert ran.returncode == 0 and told, ran.stdout
PY
