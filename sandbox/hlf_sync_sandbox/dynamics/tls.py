"""The emulator's own certificate authority and server certificate, kept in the state directory.

Called by `server` at start. The CA lives as long as the directory, so that a client's trust
survives restarts; the leaf is made anew when it nears its end or lacks a name. Keys are readable by
their owner only.
"""

import ipaddress
import os
import ssl
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("localhost", "127.0.0.1", "::1", "org.crm.localhost", "login.localhost")
_BACKDATED = timedelta(days=30)
"""Valid since before it was made: tests move a client's clock by days."""
_CA_LIFE = timedelta(days=3650)
_LEAF_LIFE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=60)

Key = ec.EllipticCurvePrivateKey


def server_context(directory: Path, host: str, now: datetime) -> ssl.SSLContext:
    """Make what is missing in the directory and give the context to listen with: TLS 1.2 or later,
    HTTP/1.1.
    """
    ca_certificate, ca_key = _authority(directory, now)
    names = tuple(dict.fromkeys((*NAMES, host)))
    leaf, key = directory / "dynamics-leaf.pem", directory / "dynamics-leaf.key"
    if not _is_good(leaf, names, ca_certificate, now):
        _make_leaf(leaf, key, names=names, ca_certificate=ca_certificate, ca_key=ca_key, now=now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(leaf, key)
    return context


def ca_path(directory: Path) -> Path:
    """Name the file that clients trust."""
    return directory / "dynamics-ca.pem"


def _authority(directory: Path, now: datetime) -> tuple[x509.Certificate, Key]:
    path, key_path = ca_path(directory), directory / "dynamics-ca.key"
    if path.exists() and key_path.exists():
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        if (
            isinstance(key, ec.EllipticCurvePrivateKey)
            and certificate.not_valid_after_utc > now + _LEAF_LIFE
        ):
            return certificate, key
    new_key = ec.generate_private_key(ec.SECP256R1())
    certificate = _ca_certificate(new_key, now)
    _write_key(key_path, new_key)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, new_key


def _ca_certificate(key: Key, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hlf-sync sandbox CA")])
    return (
        _builder(name, name, key.public_key(), now, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_leaf(
    path: Path,
    key_path: Path,
    *,
    names: tuple[str, ...],
    ca_certificate: x509.Certificate,
    ca_key: Key,
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    authority_id = ca_certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    ).value
    certificate = (
        _builder(subject, ca_certificate.subject, key.public_key(), now, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    _write_key(key_path, key)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _is_good(
    path: Path, names: tuple[str, ...], authority: x509.Certificate, now: datetime
) -> bool:
    if not path.exists() or not path.with_suffix(".key").exists():
        return False
    leaf = x509.load_pem_x509_certificate(path.read_bytes())
    covered = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        leaf.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - any reason that the chain does not hold means: make a new one
        return False
    return leaf.not_valid_after_utc > now + _RENEW_BEFORE and all(
        _general_name(name) in covered for name in names
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_key(path: Path, key: Key) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write aside and rename: a killed start leaves no half certificate."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
