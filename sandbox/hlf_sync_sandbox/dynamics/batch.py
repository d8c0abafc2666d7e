"""Runs a `$batch`: operations one after another, change sets all or nothing.

Called by `exchange`. The whole batch is one request to the protection limits; each inner answer
stands for itself.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hlf_sync_sandbox.dynamics import codes
from hlf_sync_sandbox.dynamics.answers import Answer, error, json_answer
from hlf_sync_sandbox.dynamics.calls import Call, read_call
from hlf_sync_sandbox.dynamics.codes import Code
from hlf_sync_sandbox.dynamics.contacts import Contact, Written
from hlf_sync_sandbox.dynamics.dataverse import Admission, Dataverse
from hlf_sync_sandbox.dynamics.http1 import Request
from hlf_sync_sandbox.dynamics.multipart import (
    ChangeSet,
    Malformed,
    Operation,
    Reply,
    read_batch,
    write_batch,
)
from hlf_sync_sandbox.dynamics.routing import OneContact, address

_MOST_OPERATIONS = 1000
_REFERENCE = re.compile(r"\$(\w+)(.*)", re.DOTALL)


@dataclass(slots=True)
class Ran:
    """What a batch did."""

    answer: Answer
    written: list[Written] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class BatchRun:
    """One batch under way. `strike` gives the scripted answer of a part, or None."""

    dataverse: Dataverse
    admission: Admission
    base: str
    now_ms: int
    strike: Callable[[Call], Answer | None]
    ran: Ran = field(default_factory=lambda: Ran(Answer(200)))
    replies: list[Reply] = field(default_factory=list)
    _locations: dict[str, str] = field(default_factory=dict)

    def run(self, request: Request) -> Ran:
        """Run all operations and put the answer together."""
        try:
            items = read_batch(request.headers.get("content-type", ""), request.body)
        except Malformed as malformed:
            self.ran.answer = _unparsed(str(malformed))
            return self.ran
        if (
            sum(len(item.operations) if isinstance(item, ChangeSet) else 1 for item in items)
            > _MOST_OPERATIONS
        ):
            self.ran.answer = error(codes.BATCH_TOO_LARGE)
            return self.ran
        goes_on = "odata.continue-on-error" in request.headers.get("prefer", "")
        status = 200
        for item in items:
            failed = self._change_set(item) if isinstance(item, ChangeSet) else self._single(item)
            if failed is not None and not goes_on:
                status = failed
                break
        self.ran.answer = write_batch(self.replies, status)
        return self.ran

    def _single(self, operation: Operation) -> int | None:
        """Run one operation; give the status if it failed."""
        answer = self._perform(operation)
        self.replies.append(Reply([(operation.content_id, answer)], is_change_set=False))
        return answer.status if answer.failed else None

    def _change_set(self, change_set: ChangeSet) -> int | None:
        """Run a change set; when one of it fails, nothing of it has happened and only the failure
        is answered.
        """
        before = self._rows_before(change_set)
        written_before, parts_before = len(self.ran.written), len(self.ran.parts)
        answers: list[tuple[str | None, Answer]] = []
        for operation in change_set.operations:
            answer = self._perform(operation)
            if answer.failed:
                self._undo(before, self.ran.written[written_before:])
                del self.ran.written[written_before:]
                for part in self.ran.parts[parts_before:]:
                    part["applied"] = False
                self.replies.append(Reply([(operation.content_id, answer)], is_change_set=True))
                return answer.status
            answers.append((operation.content_id, answer))
        self.replies.append(Reply(answers, is_change_set=True))
        return None

    def _perform(self, operation: Operation) -> Answer:
        request = operation.request
        if request.path.startswith("$"):
            refusal = self._resolve(request)
            if refusal is not None:
                return self._noted(read_call(request, in_batch=True), refusal, applied=False)
        call = read_call(request, in_batch=True)
        scripted = self.strike(call)
        if scripted is not None:
            return self._noted(call, scripted, applied=False)
        performed = self.dataverse.perform(call, self.admission, self.base, self.now_ms)
        self.ran.written += performed.written
        if operation.content_id is not None and performed.written:
            contact = performed.written[0].contact
            self._locations[operation.content_id] = f"/api/data/v9.2/contacts({contact.contact_id})"
        return self._noted(call, performed.answer, applied=bool(performed.written))

    def _resolve(self, request: Request) -> Answer | None:
        found = _REFERENCE.fullmatch(request.path)
        location = None if found is None else self._locations.get(found.group(1))
        if found is None or location is None:
            return error(
                Code(
                    "0x80060888",
                    400,
                    f"Content-ID Reference: '{request.path[:40]}' does not exist in the batch"
                    " context.",
                )
            )
        request.path = location + found.group(2)
        return None

    def _noted(self, call: Call, answer: Answer, *, applied: bool) -> Answer:
        self.ran.parts.append(
            {
                "method": call.request.method,
                "path": call.request.path,
                "contact_id": call.contact_id,
                "columns": call.columns,
                "if_match": call.request.headers.get("if-match"),
                "status": answer.status,
                "error_code": answer.code,
                "applied": applied,
            }
        )
        return answer

    def _rows_before(self, change_set: ChangeSet) -> dict[str, Contact]:
        contacts = self.dataverse.contacts
        found = (self._addressed(operation.request.path) for operation in change_set.operations)
        rows = (contacts.find(one.key) for one in found if isinstance(one, OneContact))
        return {
            contact.contact_id: copy.deepcopy(contact) for contact in rows if contact is not None
        }

    def _addressed(self, path: str) -> object:
        """Give the address of an operation, through a reference to an operation before this change
        set too.
        """
        reference = _REFERENCE.fullmatch(path)
        return address(path if reference is None else self._locations.get(reference.group(1), ""))

    def _undo(self, before: dict[str, Contact], written: list[Written]) -> None:
        created = [
            one.contact.contact_id for one in written if one.contact.contact_id not in before
        ]
        for contact_id in created:
            self.dataverse.contacts.remove(contact_id)
        self.dataverse.contacts.load(before.values())
        self.dataverse.log.append_removed(created)
        self.dataverse.log.append(before.values())


def _unparsed(message: str) -> Answer:
    """Errors of the batch as a whole come without the envelope [unverified: PSDataverse]."""
    content = {
        "Message": message,
        "ExceptionMessage": message,
        "ExceptionType": "Microsoft.OData.ODataException",
        "StackTrace": "",
        "ErrorCode": "0x0",
    }
    return json_answer(400, content, code="0x0")
