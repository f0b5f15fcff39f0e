"""What the holder of a network token can do: name the room, seal messages, sign ledger entries, prove the token."""

import base64
import gzip
import hashlib
import hmac
import json
import os
import struct
import time

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def lengthened(data):
    """The bytes with their length before them, in the form of everything that is signed."""
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">Q", len(data)) + data


class Token:
    """A network token, opened."""

    def __init__(self, text):
        document = yaml.safe_load(base64.b64decode(text))
        key, room, dht = (
            document["otp"]["crypto"]["key"].encode(), document["room"].encode(),
            document["otp"]["dht"]["key"].encode())
        period = struct.pack(">Q", int(time.time()) // document["otp"]["crypto"]["interval"])
        self.topic = self.password(room, period)
        self.seal_key = self.password(key, period).encode()
        self.mdns = document["mdns"]
        self.secrets = b"".join(lengthened(each) for each in (key, room, dht) if each)

    @staticmethod
    def password(key, period):
        text = base64.b64encode(hmac.new(key, period, "sha256").digest())[:43]
        return hashlib.md5(text).hexdigest()

    def derive(self, purpose):
        return HKDF(hashes.SHA256(), 32, b"kairos/network", purpose.encode()).derive(self.secrets)

    @property
    def network(self):
        """The name of the network in everything that the election signs."""
        return self.derive("tag").hex() + "/kairos"

    def proof(self, role, dialer, listener, binding):
        text = b"kairos/admission/1.0.0" + bytes([role])
        text += b"".join(map(lengthened, (dialer, listener, binding)))
        return hmac.new(self.derive("admission/1"), text, "sha256").digest()

    def seal(self, block):
        """A block of the ledger as the data of a message in the room."""
        plain = block if isinstance(block, bytes) else json.dumps(block).encode()
        start = os.urandom(12)
        text = start + AESGCM(self.seal_key).encrypt(start, gzip.compress(plain, 1), None)
        return b'{"Message":"' + text.hex().encode() + b'","SenderID":"","Annotations":null}'


def entry(owner, bucket, key, value, version=None):
    """A ledger entry, signed by its owner."""
    version = time.time_ns() if version is None else version
    updated = int(time.time())
    text = b"".join(map(lengthened, (bucket, key, owner.text)))
    text += struct.pack(">Qq?", version, updated, False) + lengthened(value)
    return {
        "Value": value, "Owner": owner.text, "Version": version, "UpdatedAt": updated, "Deleted": False,
        "Sig": base64.b64encode(owner.sign(text)).decode(),
    }  # fmt: skip


def block(storage):
    return {
        "Index": 0, "Timestamp": "2026-01-01 00:00:00 +0000 UTC", "Storage": storage, "Hash": "h", "PrevHash": "",
    }  # fmt: skip
