"""Faults that have a name, so that nobody has to remember how they are spelt.

Read by the command line and by `DynamicsControl.script`. Pure data; everything in a preset can be
overridden.
"""

from typing import Any

LATE_ANSWER = 504

PRESETS: dict[str, dict[str, Any]] = {
    "pass": {},
    "server-error": {"status": 500},
    "unavailable": {"status": 503},
    "bad-gateway": {"status": 502},
    "gateway-timeout": {"status": 504},
    "request-timeout": {"status": 408},
    "throttled": {"code": "0x80072322", "retry_after": 1},
    "throttled-time": {"code": "0x80072321", "retry_after": 1},
    "throttled-concurrency": {"code": "0x80072326", "retry_after": 1},
    "unauthorized": {"status": 401, "body": "empty"},
    "forbidden": {"code": "0x80048306"},
    "not-found": {"code": "0x80040217"},
    "conflict": {"status": 409},
    "duplicate": {"code": "0x80040333"},
    "plug-in-refused": {"code": "0x80040265"},
    "plug-in-crashed": {"code": "0x80040224"},
    "sql-error": {"code": "0x80044150"},
    "sql-timeout": {"code": "0x80044151"},
    "redirect": {"status": 302, "headers": {"Location": "https://redirected.invalid/"}},
    "reset-before": {"wire": "reset", "apply": "no"},
    "reset-after": {"wire": "reset", "apply": "yes"},
    "answer-lost": {"wire": "close", "apply": "yes"},
    "half-answer": {"wire": "half", "apply": "yes"},
    "slow-loris": {"wire": "slow", "apply": "yes"},
    "hang": {"wire": "hang", "apply": "no"},
    "hang-applied": {"wire": "hang", "apply": "yes"},
    "garbage": {"wire": "garbage", "apply": "no"},
    "stale-connection": {"wire": "close_after"},
    "truncated-json": {
        "status": 200,
        "raw": '{"@odata.context":"https://org/api/data/v9.2/$metadata#contacts","new_show',
    },
    "late-effect": {"status": LATE_ANSWER, "apply": "late", "late_s": 2.0},
    "late-after-close": {"wire": "close", "apply": "late", "late_s": 2.0},
    "empty-code": {"status": 404, "body": "empty_code", "code": "0x80040217"},
    "decimal-code": {"code": "0x80072322", "body": "decimal", "retry_after": 1},
    "no-envelope": {"status": 400, "body": "no_envelope"},
    "gzip": {"code": "0x80040216", "body": "gzip"},
    "broken-gzip": {"code": "0x80040216", "body": "broken_gzip"},
    "token-wrong-secret": {"target": "token", "aadsts": 7000215},
    "token-throttled": {
        "target": "token",
        "status": 429,
        "retry_after": 60,
        "raw": '{"error":"temporarily_unavailable"}',
    },
    "token-unavailable": {"target": "token", "status": 503},
    "token-slow": {"target": "token", "delay": {"seconds": 3.0}},
    "token-hang": {"target": "token", "wire": "hang"},
}
"""By name: the fields of a `Fault`."""
