"""When the client certificate ends, read from its file: for the metric, the doctor and the alerts.
Decides nothing, and never holds the key longer than the reading.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from hlf_sync.dynamics.auth.entra import ClientCertificate


def certificate_end_s(key: ClientCertificate) -> float | None:
    """Epoch seconds of `notAfter`; None when the file cannot be read as a certificate."""
    try:
        content = key.path.read_bytes()
        certificate = _pem(content) if b"-----BEGIN" in content else _pfx(content, key)
    except (OSError, ValueError, TypeError):
        return None
    return None if certificate is None else certificate.not_valid_after_utc.timestamp()


def _pem(content: bytes) -> x509.Certificate | None:
    """The client's own comes first in the file, as Entra wants it; its issuers may follow."""
    return next(iter(x509.load_pem_x509_certificates(content)), None)


def _pfx(content: bytes, key: ClientCertificate) -> x509.Certificate | None:
    password = key.password()
    secret = None if password is None else password.get_secret_value().encode()
    return pkcs12.load_key_and_certificates(content, secret)[1]
