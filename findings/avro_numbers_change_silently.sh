#!/usr/bin/env bash
# Question: a value does not fit its Avro type (2^40 for an int, 1.9 for a long, 1e300 for a float). What does the writer do?
# Guess: it raises, as it does for a text where bytes are due, and as it does for 2^63 in a long.
# What happens: fastavro writes. The int goes out with more than 32 bits (an Avro reader that follows the specification refuses it),
#   1.9 becomes 1, 1e300 becomes infinity, and any non-empty text is the boolean true. validate() refuses all but one of them.
# Versions: fastavro 1.13.1. Seen: 1099511627776, 1, inf, True; validate: the int, the long and the boolean refused, the float taken.
source "$(dirname "$0")/lab.sh"
lab fastavro==1.13.1
"$LAB/bin/python" - <<'PY'
import io
import math

import fastavro
from fastavro.validation import validate

cases = {"int": 2**40, "long": 1.9, "float": 1e300, "boolean": "no"}
back, valid = {}, {}
for kind, value in cases.items():
    schema = fastavro.parse_schema(kind)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    back[kind] = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), schema, None)
    valid[kind] = validate(value, schema, raise_errors=False)
    print(f"{kind}: {value!r} comes back as {back[kind]!r}; validate says {valid[kind]}")
assert back["int"] == 2**40 and back["long"] == 1 and math.isinf(back["float"]) and back["boolean"] is True
assert valid == {"int": False, "long": False, "float": True, "boolean": False}, valid
try:
    fastavro.schemaless_writer(io.BytesIO(), fastavro.parse_schema("long"), 2**63)
except OverflowError as error:
    print("long: 2**63 is refused:", error)
else:
    raise SystemExit("2**63 is written as a long now")
PY
