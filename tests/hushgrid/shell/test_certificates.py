"""Keys of certificates are written as a library writes them."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hushgrid.shell.certificates import _fresh_key


def test_a_fresh_key_is_what_the_library_would_have_written():
    seen = set()
    for _ in range(300):  # a number that begins with zeros is one in 256
        private, public = _fresh_key()
        key = serialization.load_pem_private_key(private, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1"
        assert private == key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        assert public == key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        seen.add(public)
    assert len(seen) == 300
