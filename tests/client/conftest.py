"""What tests of the client share."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.nobody import nobody  # noqa: F401 - a fixture

AFTERNOON = "2026-03-04T18:00:00Z"
"""Far from midnight, at which a day's budget is back, wherever a company's day ends."""
A_HAIR = 0.001
"""Seconds: by a rounding error the sandbox's clock could otherwise fall behind the client's."""


class SharedTime:
    """The time of a client and of the sandbox, which passes only while somebody sleeps; sleeping takes no time.

    Nobody reads it in the midst of a change: the two clocks would differ by it.
    """

    def __init__(self, control) -> None:
        self._control = control
        self._now = 0.0
        self._lock = threading.Lock()
        control.freeze(AFTERNOON)

    def monotonic(self) -> float:
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._control.advance(seconds + A_HAIR)
            self._now += seconds


@pytest.fixture
def shared_time(sandbox) -> SharedTime:
    return SharedTime(sandbox.control)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine that nobody but the test trusts, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox.example")])
    now = datetime.now(UTC)  # real time: certificates are checked by it, and this one holds for two days
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, form, plain) + made.public_bytes(pem))
    return path
