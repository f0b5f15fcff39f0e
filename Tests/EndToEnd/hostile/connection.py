"""One connection: yamux, protocol negotiation, and the protocols that an attack needs."""

import asyncio
import contextlib
import os
import struct

from .secure import dial, nonce, read_frame
from .wire import Identity, base58, field, prefixed, read_varint

MULTISTREAM = b"\x13/multistream/1.0.0\n"
IDENTIFY, PING, GOSSIP = "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0"
ADMISSION, LINKS, LEDGER = "/kairos/admission/1.0.0", "/kairos/links/1.0.0", "/kairos/ledger/1.0.0"
# What the agent's own kind announces, and what an EdgeVPN node does.
OURS = (IDENTIFY, PING, GOSSIP, ADMISSION, LEDGER, LINKS)
STOCK = (IDENTIFY, PING, GOSSIP, "/edgevpn/0.1")

DATA, WINDOW, PINGS, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
INITIAL_WINDOW = 256 * 1024


def token(name):
    return prefixed(name.encode() + b"\n")


async def read_token(reader):
    return (await reader.readexactly(await read_varint(reader)))[:-1].decode()


def frame(kind, flags, stream, data=b"", length=None):
    return struct.pack(">BBHII", 0, kind, flags, stream, len(data) if length is None else length) + data


class Stream:
    def __init__(self, connection, number):
        self.connection, self.number = connection, number
        self.reader = asyncio.StreamReader(limit=1 << 26)
        self.window, self.opened = INITIAL_WINDOW, asyncio.Event()
        self.ended = False

    def write(self, data, flags=0):
        """Sends without a look at the window."""
        self.window -= len(data)
        self.connection.send(frame(DATA, flags, self.number, data))

    async def send(self, data):
        """Sends as the other side makes room."""
        while data:
            while self.window <= 0:
                if self.ended:
                    raise EOFError("the stream is closed")
                self.opened.clear()
                await self.opened.wait()
            size = min(len(data), self.window, 60_000)
            self.write(data[:size])
            data = data[size:]
            await self.connection.writer.drain()

    def end(self):
        self.ended = True
        self.opened.set()
        with contextlib.suppress(AssertionError):
            self.reader.feed_eof()


class Connection:
    """`token` is None for who has none. `reads` is False for a peer that never takes what it is sent."""

    def __init__(self, identity=None, token=None, protocols=STOCK, addresses=(), reads=True, identify_delay=0.0):
        self.identity, self.token = identity or Identity(), token
        self.protocols, self.addresses, self.reads = protocols, addresses, reads
        self.identify_delay = identify_delay
        self.streams, self.asked, self.messages = {}, [], []
        self.closed, self.why, self.sent = asyncio.Event(), None, 0

    async def connect(self, target, source=None, seconds=15):
        await asyncio.wait_for(self.shake_hands(target, source), seconds)
        return self

    async def shake_hands(self, target, source):
        local = (source, 0) if source else None
        self.reader, self.writer = await asyncio.open_connection(*target, local_addr=local)
        try:
            self.writer.write(MULTISTREAM + token("/noise"))
            if [await read_token(self.reader), await read_token(self.reader)] != ["/multistream/1.0.0", "/noise"]:
                raise ConnectionError("Noise was refused")
            self.sealing, self.opening, self.binding, self.remote = await dial(
                self.reader, self.writer, self.identity)
        except BaseException:
            self.writer.close()
            raise
        self.received, self.next = 0, 1
        self.task = asyncio.create_task(self.receive())

    def send(self, data):
        for at in range(0, len(data), 65_000):
            text = self.sealing.encrypt(nonce(self.sent), data[at : at + 65_000], b"")
            self.sent += 1
            self.writer.write(struct.pack(">H", len(text)) + text)

    async def receive(self):
        buffer = bytearray()
        try:
            while True:
                if not self.reads:
                    if not await self.reader.read(1 << 18):
                        break
                    continue
                buffer += self.opening.decrypt(nonce(self.received), await read_frame(self.reader), b"")
                self.received += 1
                while len(buffer) >= 12:
                    _, kind, flags, number, length = struct.unpack(">BBHII", buffer[:12])
                    size = length if kind == DATA else 0
                    if len(buffer) < 12 + size:
                        break
                    data = bytes(buffer[12 : 12 + size])
                    del buffer[: 12 + size]
                    self.take(kind, flags, number, length, data)
        except (EOFError, OSError) as error:
            self.why = self.why or repr(error)
        finally:
            self.closed.set()
            for stream in self.streams.values():
                stream.end()
            self.writer.close()

    def take(self, kind, flags, number, length, data):
        if kind == PINGS:
            if flags & SYN:
                self.send(frame(PINGS, ACK, 0, b"", length))
            return
        if kind == GO_AWAY:
            self.why = f"sent away with {length}"
            return
        stream = self.streams.get(number)
        if stream is None and flags & SYN:
            stream = self.streams[number] = Stream(self, number)
            self.send(frame(WINDOW, ACK, number))
            asyncio.create_task(self.serve(stream))
        if stream is None:
            return
        if kind == WINDOW:
            stream.window += length
            stream.opened.set()
        if data:
            stream.reader.feed_data(data)
            self.send(frame(WINDOW, 0, number, b"", len(data)))
        if flags & (FIN | RST):
            stream.end()
            if flags & RST:
                self.streams.pop(number, None)

    def open(self, protocol, first=b""):
        """A stream that asks for a protocol, with the first bytes for it."""
        stream = self.streams[self.next] = Stream(self, self.next)
        self.next += 2
        stream.write(MULTISTREAM + token(protocol) + first, SYN)
        return stream

    async def serve(self, stream):
        with contextlib.suppress(EOFError, OSError):
            stream.write(MULTISTREAM)
            await read_token(stream.reader)
            while (protocol := await read_token(stream.reader)) not in self.protocols:
                self.asked.append(protocol)
                stream.write(token("na"))
            self.asked.append(protocol)
            stream.write(token(protocol))
            if protocol == IDENTIFY:
                await self.identify(stream)
            elif protocol == PING:
                while True:
                    stream.write(await stream.reader.readexactly(32))
            elif protocol == ADMISSION:
                await stream.reader.readexactly(33)
                proof = self.token.proof(2, self.remote, self.identity.peer, self.binding)
                stream.write(b"\x01\x00" + proof, FIN)
            elif protocol == GOSSIP:
                while True:
                    self.messages.append(await stream.reader.readexactly(await read_varint(stream.reader)))
                    del self.messages[:-100]
            else:
                while True:
                    await stream.reader.readexactly(1)

    async def identify(self, stream):
        text = prefixed(
            field(1, self.identity.public)
            + b"".join(field(2, address) for address in self.addresses)
            + b"".join(field(3, protocol.encode()) for protocol in self.protocols)
            + field(6, b"hostile/1"))
        for byte in text if self.identify_delay else ():
            stream.write(bytes([byte]))
            await asyncio.sleep(self.identify_delay)
        stream.write(b"" if self.identify_delay else text, FIN)

    async def be_admitted(self):
        proof = self.token.proof(1, self.identity.peer, self.remote, self.binding)
        stream = self.open(ADMISSION, b"\x01" + proof)
        await read_token(stream.reader)
        await read_token(stream.reader)
        return (await stream.reader.readexactly(2))[1] == 0

    def enter_room(self, topic):
        """Opens the stream for gossip and says that it is in the topic."""
        self.gossip = self.open(GOSSIP, prefixed(field(1, field(1, 1) + field(2, topic.encode()))))

    async def publish(self, topic, data, author=None):
        message = gossip_message(author or self.identity, topic, data)
        await self.gossip.send(prefixed(message))

    @property
    def remote_text(self):
        return base58(self.remote)

    def close(self):
        self.task.cancel()
        self.writer.close()


def gossip_message(author, topic, data):
    body = field(1, author.peer) + field(2, data) + field(3, os.urandom(8)) + field(4, topic.encode())
    return field(2, body + field(5, author.sign(b"libp2p-pubsub:" + body)))
