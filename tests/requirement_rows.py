"""The requirements by number, shortened; tests name the rows they prove with
`@pytest.mark.requirement("R07")`. A row keeps its number for good.
"""

ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "Changes in": (
        (
            "R01",
            (
                "Changes reach Kafka from the write-ahead log, atomic with the transaction; nothing"
                " is missed while a part is down"
            ),
        ),
        ("R02", "Only HLF mentors cause calls; another organisation's cause none, silently"),
        ("R03", "`paused` and `expired_cert` → remove"),
        (
            "R04",
            (
                "`reinstated` or `active` with a valid certificate → restore; `expires_at` decides,"
                " not the status column alone"
            ),
        ),
        (
            "R05",
            (
                "`reinstated` without a valid certificate → no call, one warning; who is listed all"
                " the same is removed"
            ),
        ),
        (
            "R06",
            "A renewal restores, an expiry removes, also when only the clock moved: within 60 s",
        ),
        (
            "R07",
            (
                "A repeated, late or reordered event, or two workers at once: no second effect, no"
                " wrong last state"
            ),
        ),
        (
            "R08",
            (
                "A nightly batch evaluates every HLF mentor besides the stream; safe to run many"
                " times at once"
            ),
        ),
        ("R09", "What caused each call is kept (`triggered_by`)"),
        (
            "R10",
            (
                "Unknown status, value outside the contract, missing column: never a call, a dead"
                " letter that asks for investigation"
            ),
        ),
        ("R11", "A mass removal stops before it happens and waits for an operator's word"),
    ),
    "Calls out": (
        (
            "R20",
            (
                "`remove_mentor` and `restore_mentor`, both `update_portal_visibility`, with typed"
                " results"
            ),
        ),
        (
            "R21",
            (
                "Mentor → contact by an indexed mapping before any call, within 100 ms; no mapping"
                " → `MentorMappingError`, no call"
            ),
        ),
        (
            "R22",
            (
                "Only the visibility column is written, nothing else of the contact is read; an"
                " unknown contact is never created"
            ),
        ),
        (
            "R23",
            (
                "OAuth2 client credentials, `CredentialProvider`; token in memory, renewed within"
                " 60 s of expiry; a fetch over 2 s is a `network_error`"
            ),
        ),
        (
            "R24",
            (
                "Bearer token and a fresh random UUID per request for correlation; no user"
                " identifier in either"
            ),
        ),
        (
            "R25",
            (
                "HTTPS with TLS ≥ 1.2, refused at construction otherwise; no redirects, no proxy"
                " from the environment"
            ),
        ),
        ("R26", "Which answers are retried, and which are not"),
        (
            "R27",
            (
                "3 attempts, 2 s doubling, jitter, cap 16 s, `Retry-After`; a 429 is no attempt; ≤"
                " 45 s per delivery; one `RetryPolicy` value"
            ),
        ),
        ("R28", "Typed errors with a code, typed response models"),
        (
            "R29",
            (
                "Breaker: 3 failures open, 60 s, one probe; atomic, by timestamps, kept over a"
                " restart; shown"
            ),
        ),
        ("R30", "While open no call; opening logs opened_at, failure_count, last_error_code"),
        (
            "R31",
            (
                "Each retry logs attempt_number, delay_ms, error_code, operation_type, mentor_id,"
                " certification_id"
            ),
        ),
        ("R32", "Delivery `live` or `shadow`; going live delivers everything that is due"),
        ("R33", "The Dynamics contract is configuration in one place, versioned"),
    ),
    "What could not be delivered": (
        (
            "R40",
            (
                "Every change ends as applied, superseded, out of scope or one dead letter; nothing"
                " is silently dropped"
            ),
        ),
        (
            "R41",
            (
                "Exhausted → one dead letter, `pending_manual_replay`; three 503 in a row for one"
                " mentor: circuit open, one entry, attempt_count 3"
            ),
        ),
        ("R42", "Not retriable → at once one dead letter, `requires_investigation`"),
        (
            "R43",
            "Recording a failure takes ≤ 500 ms and is durable before the event counts as handled",
        ),
        (
            "R44",
            (
                "`dynamics_sync_failures`: one row per exhausted delivery, `resolved_at` by the"
                " mentor's next success"
            ),
        ),
        ("R45", "Dead letters, failures and logs hold no credential, token or personal datum"),
        ("R46", "The source application's data is never changed or rolled back"),
        (
            "R47",
            (
                "A replay tool drains the dead letters: filter, dry run, rate limit, progress,"
                " resume; never a stale command"
            ),
        ),
        ("R48", "A failed auth stops calling and alerts at once; never dead letters"),
    ),
    "Seen and steered by people": (
        (
            "R60",
            "Consumer lag in monitoring (metrics, dashboard, alert rules), right also while paused",
        ),
        (
            "R61",
            (
                "Coordinators see pending updates as they happen, and can force a sync; their JWT"
                " must carry organisation = HLF"
            ),
        ),
        (
            "R62",
            "Credential health is checked on a schedule; an auth failure alerts on the first one",
        ),
        (
            "R63",
            (
                "A reconciliation verifies what was delivered and triggers what diverges;"
                " duplicates in one certification period are reported"
            ),
        ),
        (
            "R64",
            "A break-glass command delivers with newly given credentials when the rest is down",
        ),
        ("R65", "Expiry reminders at 30, 14 and 7 days, idempotent, safe when run concurrently"),
        (
            "R66",
            (
                "Written for operators: expected lag, credential rotation, break-glass, running"
                " against a real test tenant"
            ),
        ),
        (
            "R68",
            (
                "One row, record, contact, worker or answer that is odd stops nobody else, and ends"
                " where a metric counts it"
            ),
        ),
    ),
    "Everywhere": (
        (
            "R80",
            (
                "All tests run without real Dynamics credentials; branch coverage: `core/` 100 %,"
                " whole package ≥ 95 %"
            ),
        ),
        (
            "R81",
            (
                "TLS ≥ 1.2 to Dynamics and tokens; Kafka, PostgreSQL and registry can be secured by"
                " configuration"
            ),
        ),
        ("R82", "Least privilege in each system"),
        ("R83", "Credentials of one organisation are never reachable for another"),
    ),
}
