"""Sentences for what the story holds as words: reasons, endings, moments. Pure; used by the page,
so that scripts get words and people sentences.
"""

from collections.abc import Callable, Mapping

from hlf_sync.core.fleet_verdict import halt_words
from hlf_sync.core.model import Visibility
from hlf_sync.core.plural import counted
from hlf_sync.why.timeline import MomentKind

Content = Mapping[str, object]

DECISIONS = {
    "no_call": "nothing to do",
    "remove": "take off the listing",
    "restore": "put back on the listing",
    "refuse": "refused: a person must look",
}

REASONS = {
    "gone": "the view has no row for this mentor",
    "certificate_without_end": "the certificate has no end, which is outside the contract",
    "other_organization": "the mentor belongs to another organisation",
    "in_sync": "Dynamics shows already what the facts ask for, as far as the ledger knows",
    "no_valid_certificate": "the status would show the mentor, but no certificate is valid",
    "paused": "the status is paused",
    "expired_cert": "the status is expired_cert",
    "active": "the status is active and a certificate is valid",
    "reinstated": "the status is reinstated and a certificate is valid",
    "unknown_status": "the status is outside the contract",
    "facts_unreadable": "the view hlf_sync.mentor_facts fails for this mentor",
    "contact_replaced": (
        "another contact is mapped now, and the former one is, or may be, still shown: it is hidden"
        " first"
    ),
    "mentor_mapping": "no Dynamics contact is mapped to the mentor",
}

TRIGGERS = {
    "status_change": "the status changed",
    "certification_change": "the certificate changed",
    "manual_coordinator_action": "by hand",
    "expiry": "the certificate's end",
    "reconciliation": "a check",
    "dead_letter_replay": "a replay",
}

OUTCOMES = {
    "applied": "done",
    "refused": "refused: the old value stands",
    "unknown": "Dynamics did not say whether it took effect: sent again until it does (in doubt)",
    "late": "no answer in time, it may still take effect: sent again after that (in doubt)",
}

STATES = {
    "in_sync": "nothing was due at the last look",
    "pending": "waits for its next attempt",
    "in_doubt": "in doubt: is delivered again until an answer is certain",
    "dead_lettered": "given up: a dead letter is open",
    "out_of_scope": "no mentor of ours any more",
}


def because(reason: object) -> str:
    """A reason's sentence; one that is not in the list speaks for itself."""
    return REASONS.get(str(reason), str(reason).replace("_", " "))


def sentence(kind: MomentKind, content: Content) -> str:
    """What one moment says."""
    return _SENTENCES[kind](content)


def _change(content: Content) -> str:
    what = (
        f"{content['op']} of {content['table']}"
        if "op" in content and "table" in content
        else "a change"
    )
    if "triggered_by" in content and content.get("table") == "hlf_sync.sync_request":
        what += f", {_trigger(content['triggered_by'])}"
    if "certification_id" in content:
        what += f", certification {content['certification_id']}"
    if "error_code" in content:
        what = f"a record that cannot be read: {content['error_code']}, {content['detail']}"
    if content.get("ignored_as") == "unread":
        what += ", of which only the schema registry could say more"
    elif "ignored_as" in content:
        what += f", ignored ({content['ignored_as']})"
    waits = ", NOT HANDLED YET" if content.get("is_handled") is False else ""
    return f"{what}  [{content['partition']}:{content['offset']}]{waits}"


def _value(word: object) -> str:
    """What was shown; other words of the books are left as they are."""
    return Visibility(str(word)).word if word in set(Visibility) else str(word)


def _trigger(word: object) -> str:
    return TRIGGERS.get(str(word), str(word))


def _request(content: Content) -> str:
    reason = f': "{content["reason"]}"' if content.get("reason") else ""
    letter = f" for letter {content['dead_letter_id']}" if content.get("dead_letter_id") else ""
    cause = _trigger(content["triggered_by"])
    return f"{content['requested_by']} asked for a look{letter}, {cause}{reason}"


def _decided(content: Content) -> str:
    reason = f": {because(content['reason'])}" if content.get("reason") else ""
    cause = f"  ({_trigger(content['triggered_by'])})" if content.get("triggered_by") else ""
    return f"{content['decision']}{reason}{cause}"


def _attempt(content: Content) -> str:
    waited = (
        f", after waiting {content['waited_s']:.1f} s"
        if isinstance(content.get("waited_s"), float)
        else ""
    )
    code = " ".join(
        str(content[name])
        for name in ("http_status", "error_code")
        if content.get(name) is not None
    )
    outcome = OUTCOMES.get(str(content["outcome"]), str(content["outcome"]))
    return (
        f"{content['operation']}, attempt {content['attempt_number']}{waited}:"
        f" {f'{code}, ' if code else ''}{outcome}  ({content['duration_ms']} ms)"
    )


def _glass(content: Content) -> str:
    code = content["http_status"] or content["error_code"] or "no answer"
    return (
        f"{content['called_by']} made the contact {_value(content['shown'])} beside the ledger: {code},"
        f' {content["effect"]}: "{content["reason"]}"'
    )


def _letter(content: Content) -> str:
    count = content["attempt_count"]
    return f"{content['dead_letter_id']}: {because(content['error_code'])}" + (
        f", after {counted(count, 'attempt')}" if isinstance(count, int) and count else ""
    )


def _searched(content: Content) -> str:
    cut = f", cut to the newest {content['records']:,} records" if content["is_cut"] else ""
    shown = (
        f", the newest {content['shown']} shown" if content["shown"] != content["changes"] else ""
    )
    where = f"partition {content['partition']}, positions {content['first']} to {content['end']}"
    return (
        f"changes looked for in {where} ({content['days']:g} days{cut}): {content['changes']}"
        f" found{shown}"
    )


_SENTENCES: dict[MomentKind, Callable[[Content], str]] = {
    MomentKind.MISSING: lambda content: f"{content['part']}: {content['why']}",
    MomentKind.SEARCHED: _searched,
    MomentKind.CIRCUIT: lambda content: (
        f"the circuit is {str(content['state']).replace('_', '-')} since then"
        f" ({content['error_code']})"
    ),
    MomentKind.HALT: lambda content: f"{halt_words(str(content['reason']))}: {content['detail']}",
    MomentKind.CHANGE: _change,
    MomentKind.REQUEST: _request,
    MomentKind.PAUSED: lambda content: f'{content["by"]} paused the mentor: "{content["reason"]}"',
    MomentKind.UNPAUSED: lambda content: f'{content["by"]} ended the pause: "{content["reason"]}"',
    MomentKind.BREAK_GLASS: _glass,
    MomentKind.HELD: lambda _content: (
        "the mass change guard holds the removal back: `hlf-sync confirm-removals`"
    ),
    MomentKind.CONFIRMED: lambda content: (
        f'{content["confirmed_by"]} let the removal through: "{content["reason"]}"'
    ),
    MomentKind.DECISION: _decided,
    MomentKind.ATTEMPT: _attempt,
    MomentKind.DEAD_LETTER: _letter,
    MomentKind.RESOLVED: lambda content: (
        f"{content['dead_letter_id']} is settled: the mentor is as it should be"
    ),
    MomentKind.CLOSED: lambda content: (
        f'{content["closed_by"]} closed {content["dead_letter_id"]}: "{content["reason"]}"'
    ),
}
