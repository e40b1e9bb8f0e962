"""Certificates, nkeys and JWTs for tests, made when a test runs; none is checked in.

An Authority signs certificates and is a CA file; `make_nkey` gives a key pair as NATS writes
it; `Realm` is an operator with one account that signs users. Nothing here starts a server.
"""

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """Two PEM files."""

    certificate: str
    key: str


class Authority:
    """A private certificate authority; `file` is its own certificate."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = str(directory / f"{name}.pem")
        signed = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        Path(self.file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *hosts: str) -> Certificate:
        """A certificate for these DNS names and IP addresses, for servers and clients."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        names = [_general_name(host) for host in hosts or (name,)]
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            self._builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate = self._directory / f"{name}-cert.pem"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file = self._directory / f"{name}-key.pem"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Certificate(str(certificate), str(key_file))

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def make_nkey(prefix: int = nkeys.PREFIX_BYTE_USER) -> nkeys.KeyPair:
    """A new key pair; `seed` and `public_key` are bytes as NATS writes them."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), prefix)
    return nkeys.from_seed(bytearray(seed))


class Realm:
    """An operator and one account, as a NATS server's configuration, and the users of it."""

    def __init__(self) -> None:
        self._operator = make_nkey(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = make_nkey(nkeys.PREFIX_BYTE_ACCOUNT)

    def configuration(self) -> str:
        """Operator mode, with the account in memory."""
        operator = _sign(self._operator, self._operator, "operator", {})
        unlimited = ("subs", "conn", "leaf", "imports", "exports", "data", "payload")
        limits = {"wildcards": True, **dict.fromkeys(unlimited, -1)}
        account = _sign(self._operator, self._account, "account", {"limits": limits})
        public = _public(self._account)
        return (
            f"operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {public}: {account} }}\n"
        )

    def write_credentials(self, path: Path, expires_at_s: int = 0) -> str:
        """The credentials file of a new user. 0: they do not expire."""
        user = make_nkey()
        limits = dict.fromkeys(("subs", "data", "payload"), -1)
        jwt = _sign(self._account, user, "user", limits, expires_at_s)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{bytes(user.seed).decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        return str(path)


def _sign(
    issuer: nkeys.KeyPair,
    subject: nkeys.KeyPair,
    kind: str,
    grants: dict[str, Any],
    expires_at_s: int = 0,
) -> str:
    claims: dict[str, Any] = {
        "iat": int(time.time()) - 60,
        "iss": _public(issuer),
        "sub": _public(subject),
        "name": kind,
        "nats": {**grants, "type": kind, "version": 2},
    }
    if expires_at_s:
        claims["exp"] = expires_at_s
    claims["jti"] = hashlib.sha256(json.dumps(claims).encode()).hexdigest()
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
    return f"{text}.{_encode(issuer.sign(text.encode()))}"


def _public(pair: nkeys.KeyPair) -> str:
    public: bytes = pair.public_key
    return public.decode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
