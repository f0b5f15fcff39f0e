"""Varints, protocol buffers, base58 and identities, as libp2p has them."""

import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def base58(data):
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = ALPHABET[rest] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(text):
    number = 0
    for letter in text:
        number = number * 58 + ALPHABET.index(letter)
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


async def read_varint(reader):
    number = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number


def prefixed(data):
    """The bytes with their length before them."""
    return varint(len(data)) + data


def field(number, value):
    """A field of a protocol buffer: bytes, or a varint for a number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + prefixed(value)


def fields(data):
    """{number: value} of a protocol buffer of bytes and varints; the last of a number counts."""
    found, at = {}, 0

    def number():
        nonlocal at
        result = shift = 0
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return result

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            found[tag >> 3] = number()
        elif tag & 7 == 2:
            length = number()
            found[tag >> 3] = bytes(data[at : at + length])
            at += length
        else:
            raise ValueError(f"wire type {tag & 7}")
    return found


def multiaddr(host, port):
    """/ip4/HOST/tcp/PORT in binary."""
    return b"\x04" + bytes(map(int, host.split("."))) + b"\x06" + port.to_bytes(2, "big")


class Identity:
    """An Ed25519 key, a fresh one without a seed, and the peer ID that follows from it."""

    def __init__(self, seed=None):
        self.key = Ed25519PrivateKey.from_private_bytes(seed or os.urandom(32))
        self.public = b"\x08\x01\x12\x20" + self.key.public_key().public_bytes(*RAW)
        self.peer = b"\x00\x24" + self.public
        self.text = base58(self.peer)

    def sign(self, data):
        return self.key.sign(data)
