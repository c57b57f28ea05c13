"""The self-signed certificate for ``--https``."""

import datetime
import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from platformdirs import user_cache_path

_LIFETIME: Final = datetime.timedelta(days=365)
_RENEW_BEFORE: Final = datetime.timedelta(days=7)


def find_or_make_certificate(folder: Path | None = None, spare: Path | None = None) -> tuple[Path, Path]:
    """Return the paths of certificate and key, created once, so that a browser warns only once.

    Args:
        folder: Their folder; None for the user's cache folder.
        spare: Fallback if that folder is not writable, such as in a read-only home.

    Raises:
        OSError: Neither folder is writable.
    """
    folder = folder or user_cache_path("kv-facerecognition") / "https"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    try:
        if not (_is_readable(key) and _is_valid(certificate)):
            folder.mkdir(parents=True, exist_ok=True)
            _make(certificate, key)
    except OSError:
        if spare is None:
            raise
        return find_or_make_certificate(spare)
    return certificate, key


def _is_readable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _is_valid(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > _RENEW_BEFORE


def _make(certificate_path: Path, key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KV FaceRecognition on this machine")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private)
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _names() -> list[x509.GeneralName]:
    """Return the names and addresses under which this machine may be reached."""
    host = socket.gethostname()
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName(host)]
    addresses = {"127.0.0.1", "::1"}
    with suppress(OSError):  # without a resolvable host name, the loopback addresses remain
        addresses.update(str(info[4][0]).split("%")[0] for info in socket.getaddrinfo(host, None))
    return names + [x509.IPAddress(ipaddress.ip_address(address)) for address in sorted(addresses)]
