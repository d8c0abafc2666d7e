"""Why something could not be reached or read, in words: what libraries call it is a class's name or a
code, which helps nobody who is not a programmer. Pure; used by errors and by whoever says a cause.
"""

_NO_BROKER = "no broker answers at HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"

WORDS = {
    # httpx and our own transport
    "ConnectError": "connection refused, or no such host",
    "ConnectTimeout": "no answer to the connection in time",
    "ReadTimeout": "no answer in time",
    "WriteTimeout": "it did not take what was sent in time",
    "PoolTimeout": "no connection in time",
    "ReadError": "the connection was cut",
    "WriteError": "the connection was cut",
    "CloseError": "the connection was cut",
    "RemoteProtocolError": "what answers speaks no HTTP",
    "UnsupportedProtocol": "the address is neither http nor https",
    # psycopg
    "OperationalError": "no connection",
    "InterfaceError": "the connection was closed",
    "AdminShutdown": "the server ended the connection",
    "CrashShutdown": "the server crashed",
    "CannotConnectNow": "the server starts up or shuts down",
    "UndefinedTable": "a table is missing: run `hlf-sync migrate`",
    "UndefinedColumn": "a column is missing: run `hlf-sync migrate`",
    "UndefinedFunction": "a function is missing: run `hlf-sync migrate`",
    "InvalidSchemaName": "the schema is missing: run `hlf-sync migrate`",
    "InsufficientPrivilege": "the role lacks a right: run connectors/sql/02_source.sql",
    "ReadOnlySqlTransaction": "a read-only standby",
    # librdkafka
    "_TRANSPORT": _NO_BROKER,
    "_ALL_BROKERS_DOWN": _NO_BROKER,
    "_NOENT": _NO_BROKER,  # no coordinator is known
    "_TIMED_OUT": "no answer in time",
    "_RESOLVE": "no such host",
    "_AUTHENTICATION": "user, password or token refused; a token must be a JWT with sub and exp",
    "_SSL": "TLS failed",
    # files
    "FileNotFoundError": "there is no such file",
    "PermissionError": "we may not read it",
    "IsADirectoryError": "it is a folder",
    "NotADirectoryError": "a part of its path is a file",
    "UnicodeDecodeError": "it is not UTF-8 text",
    "ConnectionRefusedError": "connection refused",
    "TimeoutError": "no answer in time",
}


def in_words(cause: str) -> str:
    """The words for a class's name or a code; what is said in words already stays."""
    head, colon, rest = cause.partition(": ")
    words = WORDS.get(head)
    if words is None:
        return cause
    return f"{words.partition(': ')[0]}: {rest}" if colon else words


def of(error: BaseException) -> str:
    """An exception's cause in words, without its text, which may quote input."""
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((WORDS[name] for name in names if name in WORDS), type(error).__name__)
