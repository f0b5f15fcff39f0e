"""The Noise handshake XX of libp2p, as the side that dials."""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .wire import RAW, field, fields

NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"


def nonce(count):
    return bytes(4) + struct.pack("<Q", count)


class Handshake:
    """The symmetric state: everything said is hashed, and each exchange of keys is mixed in."""

    def __init__(self):
        self.hash = self.chain = NAME
        self.key, self.count = None, 0
        self.mix(b"")

    def mix(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def expand(self, secret):
        first = hmac.new(self.chain, secret, "sha256").digest()
        one = hmac.new(first, b"\1", "sha256").digest()
        return one, hmac.new(first, one + b"\2", "sha256").digest()

    def mix_key(self, private, public):
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
        self.chain, self.key = self.expand(secret)
        self.count = 0

    def seal(self, plain):
        text = plain
        if self.key:
            text = ChaCha20Poly1305(self.key).encrypt(nonce(self.count), plain, self.hash)
            self.count += 1
        self.mix(text)
        return text

    def open(self, text):
        plain = text
        if self.key:
            plain = ChaCha20Poly1305(self.key).decrypt(nonce(self.count), text, self.hash)
            self.count += 1
        self.mix(text)
        return plain

    def split(self):
        return tuple(map(ChaCha20Poly1305, self.expand(b"")))


def framed(data):
    return struct.pack(">H", len(data)) + data


async def read_frame(reader):
    return await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])


def first_message():
    """A key of the moment and the message that begins a handshake."""
    state, ephemeral = Handshake(), X25519PrivateKey.generate()
    public = ephemeral.public_key().public_bytes(*RAW)
    state.mix(public)
    return state, ephemeral, framed(public + state.seal(b""))


async def dial(reader, writer, identity):
    """Shakes hands. (cipher to send, cipher to receive, the connection's hash, the other's peer ID)"""
    state, ephemeral, message = first_message()
    static = X25519PrivateKey.generate()
    writer.write(message)
    answer = await read_frame(reader)
    theirs = answer[:32]
    state.mix(theirs)
    state.mix_key(ephemeral, theirs)
    their_static = state.open(answer[32:80])
    state.mix_key(ephemeral, their_static)
    payload = fields(state.open(answer[80:]))
    public = static.public_key().public_bytes(*RAW)
    sealed = state.seal(public)
    state.mix_key(static, theirs)
    own = field(1, identity.public) + field(2, identity.sign(b"noise-libp2p-static-key:" + public))
    # The muxer is agreed on within the handshake.
    writer.write(framed(sealed + state.seal(own + field(4, field(2, b"/yamux/1.0.0")))))
    send, receive = state.split()
    return send, receive, state.hash, b"\x00\x24" + payload[1]
