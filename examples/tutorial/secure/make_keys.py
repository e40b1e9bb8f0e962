"""Make the keys and certificates of this chapter in the folder ./keys. Never check them in.

Needs what the client brings along: no openssl, no nsc.
"""

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEYS = Path("keys")
LIFE = datetime.timedelta(days=30)


def write(name: str, data: bytes) -> None:
    path = KEYS / name
    path.touch(mode=0o600)
    path.write_bytes(data)


def call(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def certify(
    name: str, issuer: str = "", issuer_key: ec.EllipticCurvePrivateKey | None = None
) -> ec.EllipticCurvePrivateKey:
    """A key, and a certificate for this machine; without an issuer it is an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer_key or key
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(call(name))
        .issuer_name(call(issuer or name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + LIFE)
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, not issuer, not issuer, False, False),
            critical=True,
        )
        .sign(signer, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    write(f"{name}.pem", certificate.public_bytes(pem))
    private = serialization.PrivateFormat.PKCS8
    write(f"{name}-key.pem", key.private_bytes(pem, private, serialization.NoEncryption()))
    return key


def pair(prefix: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(issuer: Any, subject: Any, kind: str, grants: dict[str, Any]) -> str:
    """A JWT as NATS has them."""
    claims: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {**grants, "type": kind, "version": 2},
    }
    claims["jti"] = hashlib.sha256(json.dumps(claims).encode()).hexdigest()
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    return f"{text}.{encode(issuer.sign(text.encode()))}"


def credentials(account: Any) -> bytes:
    user = pair(nkeys.PREFIX_BYTE_USER)
    jwt = sign(account, user, "user", dict.fromkeys(("subs", "data", "payload"), -1))
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    ).encode()


def main() -> None:
    KEYS.mkdir(exist_ok=True)
    authority = certify("ca")
    certify("server", "ca", authority)
    certify("client", "ca", authority)

    user, stranger = pair(nkeys.PREFIX_BYTE_USER), pair(nkeys.PREFIX_BYTE_USER)
    write("user.nk", user.seed)
    write("stranger.nk", stranger.seed)
    users = f"authorization {{ users: [ {{ nkey: {user.public_key.decode()} }} ] }}\n"
    write("nkey.conf", users.encode())

    operator, account = pair(nkeys.PREFIX_BYTE_OPERATOR), pair(nkeys.PREFIX_BYTE_ACCOUNT)
    unlimited = ("subs", "conn", "leaf", "imports", "exports", "data", "payload")
    limits = {"wildcards": True, **dict.fromkeys(unlimited, -1)}
    write(
        "jwt.conf",
        f"operator: {sign(operator, operator, 'operator', {})}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public_key.decode()}: "
        f"{sign(operator, account, 'account', {'limits': limits})} }}\n".encode(),
    )
    write("user.creds", credentials(account))
    write("stranger.creds", credentials(pair(nkeys.PREFIX_BYTE_ACCOUNT)))
    print("made:", ", ".join(sorted(path.name for path in KEYS.iterdir())))


main()
