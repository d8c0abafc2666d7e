"""The error codes of Dataverse that the emulator answers or can be told to answer: one table.

Read by `dataverse`, `contacts` and `faults`. Source: Microsoft's page about Web API errors,
and captures of real answers. A row marked unverified rests on a capture or on inference, not on Microsoft's documentation.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One error as it goes over the wire."""

    hex: str
    status: int
    message: str
    unverified: bool = False

    @property
    def signed(self) -> int:
        """The same code as the signed decimal that older paths and the .NET SDK use."""
        unsigned = int(self.hex, 16)
        return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned

    @property
    def example(self) -> str:
        """The message filled in as in Microsoft's documentation: what a scripted fault says."""
        limit = {"0x80072321": 1_200_000, "0x80072326": 52}.get(self.hex, 6000)
        return self.message.format_map(_EXAMPLES | {"limit": limit})


_NOBODY = "00000000-0000-4000-8000-000000000000"
_EXAMPLES = {
    "id": _NOBODY,
    "user": _NOBODY,
    "privilege": "prvWriteContact",
    "privilege_id": _NOBODY,
    "column": "new_showonwebsite",
    "detail": "see the request.",
    "method": "PATCH",
    "window": 300,
}
_PLUG_IN = (
    "An unexpected error occurred from ISV code. (ErrorType = ClientError) Unexpected exception"
    " from plug-in"
)

OBJECT_DOES_NOT_EXIST = Code("0x80040217", 404, "contact With Id = {id} Does Not Exist")
KEY_DOES_NOT_EXIST = Code(
    "0x80060891",
    404,
    "A record with the specified key values does not exist in contact entity",
    unverified=True,
)
PRIVILEGE_DENIED = Code(
    "0x80040220",
    403,
    "Principal user (Id={user}, type=8) is missing {privilege} privilege (Id={privilege_id})",
)
NOT_A_MEMBER = Code("0x80072560", 403, "The user is not a member of the organization.")
COLUMN_SECURED = Code(
    "0x8004f507",
    403,
    "The user does not have AttributePermissionUpdate permission on the secured column {column}.",
)
TOKEN_EXPIRED = Code("0x8005F101", 401, "The requested resource requires authentication.")
VERSION_MISMATCH = Code(
    "0x80060882",
    412,
    "The version of the existing record doesn't match the RowVersion property provided.",
)
DUPLICATE_RECORD = Code("0x80040237", 412, "A record with matching key values already exists.")
PAYLOAD = Code(
    "0x80048d19",
    400,
    "Error identified in Payload provided by the user for Entity :'contacts', {detail}",
)
NOT_PARSED = Code(
    "0x80060888",
    400,
    "URL was not parsed due to an ODataUnrecognizedPathException. Resource not found for the"
    " segment provided in the URL.",
)
TOO_LONG = Code(
    "0x80044331",
    400,
    "A validation error occurred. The length of the '{column}' attribute exceeded the maximum"
    " allowed length.",
)
BAD_KEY = Code(
    "0x0",
    400,
    "The key in the request URI is not valid for resource 'Microsoft.Dynamics.CRM.contact'.",
    unverified=True,
)
METHOD_NOT_ALLOWED = Code(
    "0x80060888",
    405,
    "The requested resource does not support http method '{method}'.",
    unverified=True,
)
MEDIA_TYPE = Code(
    "0x80060888",
    415,
    "A supported MIME type could not be found for the request's Content-Type.",
    unverified=True,
)
BURST = Code(
    "0x80072322",
    429,
    "Number of requests exceeded the limit of {limit} over time window of {window} seconds.",
)
EXECUTION_TIME = Code(
    "0x80072321",
    429,
    "Combined execution time of incoming requests exceeded limit of {limit:,} milliseconds over"
    " time window of {window} seconds. Decrease number of concurrent requests or reduce the"
    " duration of requests and try again later.",
)
CONCURRENCY = Code(
    "0x80072326", 429, "Number of concurrent requests exceeded the limit of {limit}."
)
BATCH_TOO_LARGE = Code(
    "0x80060888",
    400,
    "Number of operations in the batch exceeded the limit of 1000.",
    unverified=True,
)

_OTHERS = (
    Code(
        "0x80048306",
        403,
        "Principal user is missing privilege to access the object or to perform the operation.",
    ),
    Code("0x80072561", 403, "The user is in an admin restricted location.", unverified=True),
    Code("0x80040277", 401, "UnauthorizedAccess"),
    Code("0x80072559", 401, "Error from AAD", unverified=True),
    Code("0x8004A104", 403, "The organization is disabled.", unverified=True),
    Code("0x80060883", 400, "The RowVersion property must be provided.", unverified=True),
    Code(
        "0x8006088D",
        400,
        "Optimistic concurrency isn't enabled for entity type contact.",
        unverified=True,
    ),
    Code(
        "0x80060892", 412, "A record that has the attribute values already exists.", unverified=True
    ),
    Code(
        "0x80040333",
        500,
        "A record was not created or updated because a duplicate of the current record already"
        " exists.",
    ),
    Code("0x80040265", 400, "The plug-in refused the update."),
    Code("0x80040224", 500, _PLUG_IN, unverified=True),
    Code("0x80040216", 500, "An unexpected error occurred.", unverified=True),
    Code("0x8005F103", 429, "Too many requests.", unverified=True),
    Code("0x80044150", 500, "Generic SQL error."),
    Code("0x80044151", 500, "SQL timeout expired."),
    Code(
        "0x80044339",
        500,
        "sp_getapplock deadlock victim. Please retry the request.",
        unverified=True,
    ),
)

CATALOGUE: dict[str, Code] = {
    code.hex.lower(): code
    for code in (
        *_OTHERS,
        NOT_PARSED,
        OBJECT_DOES_NOT_EXIST,
        KEY_DOES_NOT_EXIST,
        PRIVILEGE_DENIED,
        NOT_A_MEMBER,
        COLUMN_SECURED,
        TOKEN_EXPIRED,
        VERSION_MISMATCH,
        DUPLICATE_RECORD,
        PAYLOAD,
        TOO_LONG,
        BURST,
        EXECUTION_TIME,
        CONCURRENCY,
    )
}
"""By lower-case hex: what a fault that names only a code answers."""
