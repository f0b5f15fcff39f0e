"""What hostile peers do. Each attack is bounded in time and count; it gives back what it saw, as a dictionary.

An attack gets the facts of the network that it attacks: `targets` (host and port of each node), `token` where the
attacker has one, `sources` (addresses of its own), and what the test adds.
"""

import asyncio
import base64
import collections
import gzip
import json
import os
import socket
import struct
import time

from . import decrees
from .connection import (
    DATA, GOSSIP, IDENTIFY, LINKS, MULTISTREAM, OURS, PING, RST, STOCK, SYN, Connection, frame, token,
)  # fmt: skip
from .room import Token, block, entry
from .secure import first_message
from .wire import Identity, base58, multiaddr, prefixed, varint

ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__] = function
    return function


class Facts:
    def __init__(self, document):
        self.__dict__.update(document)
        self.targets = [tuple(target) for target in self.targets]
        self.holder = Token(self.token) if getattr(self, "token", None) else None
        self.sources = getattr(self, "sources", [None])
        self.targets_by_turn, self.sources_by_turn = self.turns(self.targets), self.turns(self.sources)

    @staticmethod
    def turns(values):
        while True:
            yield from values


def ready():
    """Tells the test that the attack has begun."""
    print(json.dumps({"ready": True}), flush=True)


async def gather(count, limit, make, seconds=30):
    """What `make()` gives, `count` times, `limit` at once; failures are counted by their kind. It ends in time."""
    made, failures, gate = [], collections.Counter(), asyncio.Semaphore(limit)

    async def one():
        async with gate:
            try:
                made.append(await make())
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                failures[type(error).__name__] += 1

    _, late = await asyncio.wait([asyncio.create_task(one()) for _ in range(count)], timeout=seconds)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return made, {**failures, "too late": len(late)}


def alive(connections):
    return sum(not connection.closed.is_set() for connection in connections)


# Holders of the token, of whom no node knows anything.


async def in_the_room(facts, admitted=False, identity=None):
    """A connection in the room, which has shown there that it holds the token."""
    connection = Connection(identity, token=facts.holder, protocols=OURS if admitted else STOCK)
    await connection.connect(facts.targets[0])
    if admitted and not await connection.be_admitted():
        raise ConnectionError("not admitted")
    connection.enter_room(facts.holder.topic)
    await asyncio.sleep(1)
    # An entry of its own, sealed, proves it to be a member of EdgeVPN's kind.
    me = connection.identity
    value = json.dumps({"PeerID": me.text, "Name": me.text})
    await publish(connection, facts, {"services": {me.text: entry(me, "services", me.text, value)}})
    await asyncio.sleep(0.5)
    return connection


class CutOff:
    """Around what is sent until the other side has had enough; `seen` is True then."""

    seen = False

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        self.seen = kind is not None and issubclass(kind, (OSError, EOFError))
        return self.seen


async def publish(connection, facts, storage, author=None):
    await connection.publish(facts.holder.topic, facts.holder.seal(block(storage)), author)


@attack
async def visit(facts):
    """No attack: members that come one after the other, as each node of the network does."""
    admitted = 0
    for _ in range(facts.count):
        try:
            connection = await Connection(token=facts.holder, protocols=OURS).connect(facts.targets[0], seconds=4)
            admitted += await asyncio.wait_for(connection.be_admitted(), 4)
            connection.close()
        except (OSError, EOFError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(0.1)
    return {"admitted": admitted}


def false_cluster(owner, epoch):
    """Where K3s agents would be led to."""
    key, value = f"{owner.text}/kairos/join", {
        "epoch": epoch, "address": "10.1.0.200", "port": 6443, "token": "hostile-join-token"}  # fmt: skip
    return {"kairosNode": {key: entry(owner, "kairosNode", key, json.dumps(value))}}


def false_certificates(facts, owner, form):
    """Certificates of one form that say that `owner` founded a later cluster."""
    network, quorum, known, voters = facts.holder.network, facts.quorum, facts.number, facts.voters
    strangers = [Identity() for _ in range(4)]
    # A decree names its founder among the voters.
    names = [owner.text, *(each.text for each in strangers)]
    founder = decrees.server(owner, form)

    def refounding(number, voters):
        # One that comes right after what is known cannot have run yet.
        later = number > known + 1
        return decrees.decree(number, min(number, facts.epoch + 1), founder, voters=voters, running=later)

    if form == "former":
        return [
            decrees.former_certificate(network, quorum, owner, strangers[:quorum], refounding(number, []))
            for number in (known + 1, known + 8)
        ]
    if form == "former at the end":
        decree = refounding(2**64 - 1, [])
        return [decrees.former_certificate(network, quorum, owner, strangers[:quorum], {**decree, "epoch": 2})]
    if form == "voters of its own":
        return [
            decrees.certificate(network, {"voters": names}, owner, strangers[:3], refounding(number, names))
            for number in (known + 1, known + 8)
        ]
    if form == "at the end":
        decree = refounding(decrees.GREATEST, names)
        return [
            decrees.certificate(network, {"voters": names}, owner, strangers[:3], {**decree, "number": number})
            for number in (decrees.GREATEST, 2**64 - 1)
        ]
    if form == "the right voters, other signatures":
        few = strangers[: len(voters) // 2 + 1]
        made = decrees.certificate(network, {"voters": voters}, owner, few, refounding(known + 1, names))
        return [made, {**made, "signatures": dict(zip(voters, made["signatures"].values()))}]
    if form == "a founding":
        decree = {**refounding(1, names), "running": False}
        return [decrees.certificate(network, {"members": quorum}, owner, strangers[:quorum], decree)]
    if form == "recovered":
        nodes = sorted(strangers, key=lambda each: each.peer)
        electorate = {"recovered": [each.text for each in nodes]}
        return [decrees.certificate(network, electorate, owner, nodes, refounding(known + 1, names))]
    if form == "a chain":
        # The first link is signed by nobody who was named; all that follow are as they should be.
        electorate, way = {"voters": names}, []
        for step in range(1, 4):
            others = [Identity() for _ in range(2)]
            decree = refounding(known + step, [owner.text, *(each.text for each in others)])
            way.append(decrees.link(network, electorate, owner, strangers, decree))
            strangers, electorate = others, {"voters": decree["voters"]}
        last = refounding(known + 4, electorate["voters"])
        return [decrees.certificate(network, electorate, owner, strangers, last, links=way)]
    if form == "another network":
        other = "0" * 64 + "/kairos"
        return [decrees.certificate(other, {"voters": names}, owner, strangers[:3], refounding(known + 1, names))]
    raise ValueError(form)


@attack
async def forge_certificates(facts):
    """Tells certificates that only throw-away keys have signed, and where the cluster is that they name."""
    connection = await in_the_room(facts, admitted=facts.admitted)
    for form in facts.forms:
        owner = connection.identity if facts.admitted else Identity()
        for made in false_certificates(facts, owner, form):
            storage = decrees.stored(owner, "certificate", made) | false_cluster(owner, facts.epoch + 1)
            await publish(connection, facts, storage, author=owner)
            await asyncio.sleep(0.3)
    await asyncio.sleep(1)
    return {"sent": len(facts.forms), "why": connection.why}


@attack
async def poison_rounds(facts):
    """Tells registers whose rounds and numbers leave no room above them."""
    connection = await in_the_room(facts, admitted=facts.admitted)
    for round in facts.rounds:
        for kind in ("promised", "drive"):
            for form in ("former", "current"):
                owner = connection.identity if facts.admitted else Identity()
                ballot = {"round": round, "proposer": owner.text}
                said = decrees.register(
                    facts.holder.network, facts.quorum, facts.number + 1,
                    **{kind: ballot if kind == "promised" else {"ballot": ballot}})  # fmt: skip
                if form == "former":
                    del said["version"]
                await publish(connection, facts, decrees.stored(owner, "register", said), author=owner)
                await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    return {"why": connection.why}


@attack
async def drive(facts):
    """Asks for promises, and then for accepts of changes that nobody has a reason for: as an admitted member, or with
    the key of a voter."""
    identity = Identity(bytes.fromhex(facts.seed)) if facts.seed else None
    connection = await in_the_room(facts, admitted=True, identity=identity)
    me = connection.identity
    changes = {
        "refound": {"epoch": facts.epoch + 1, "founder": decrees.server(me), "servers": [decrees.server(me)],
                    "running": False, "voters": [me.text, *(v for v in facts.voters if v != me.text)][:3]},
        "remove": {"forgotten": [facts.present],
                   "voters": [each for each in facts.voters if each != facts.present][:1]},
        "serve": {"servers": [*facts.servers, decrees.server(me)]},
        "vote": {"voters": [facts.servers[0]["peer"], me.text, Identity().text]},
    }  # fmt: skip
    round = 100
    for change in changes.values():
        # Builds whose decrees name no voters ask otherwise; a voter there is only here.
        for former in (False,) if facts.seed else (True, False):
            asked = {
                "number": facts.number + 1, "epoch": facts.epoch, "founder": facts.founder, "running": True,
                "servers": facts.servers, "forgotten": [], "voters": facts.voters, **change,
            }  # fmt: skip
            if former:
                del asked["voters"]
                asked["quorum"] = facts.quorum
            round += 10
            ballot = {"round": round, "proposer": me.text}
            for more in ({"ballot": ballot}, {"ballot": ballot, "decree": asked}):
                said = decrees.register(
                    facts.holder.network, facts.quorum, facts.number + 1, drive=more, missesFounder=True)
                if former:
                    del said["version"]
                await publish(connection, facts, decrees.stored(me, "register", said))
                await asyncio.sleep(0.5)
    await asyncio.sleep(0.5)
    return {"peer": me.text, "why": connection.why}


@attack
async def vote_as_many(facts):
    """Before a cluster is founded: registers of many keys that nobody has met, each with a vote for its own founder."""
    connection = await in_the_room(facts)
    founder, voters = connection.identity, [Identity() for _ in range(facts.count)]
    names = [each.text for each in voters[:3]]
    decree = decrees.decree(1, 1, decrees.server(founder), voters=[founder.text, *names[:2]], running=False)
    ballot = {"round": 1, "proposer": founder.text}
    for voter in [founder, *voters]:
        text = decrees.statement(facts.holder.network, {"members": facts.quorum}, voter, ballot, decree)
        accepted = {
            "acceptor": voter.text, "ballot": ballot, "decree": decree,
            "signature": base64.b64encode(voter.sign(text)).decode()}  # fmt: skip
        said = decrees.register(facts.holder.network, facts.quorum, 1, promised=ballot, accepted=accepted)
        if voter is founder:
            said["drive"] = {"ballot": ballot, "decree": decree}
        await publish(connection, facts, decrees.stored(voter, "register", said), author=voter)
    for made in (
        decrees.certificate(facts.holder.network, {"members": facts.quorum}, founder, voters[: facts.quorum], decree),
        decrees.former_certificate(facts.holder.network, facts.quorum, founder, voters[: facts.quorum], decree),
    ):
        storage = decrees.stored(founder, "certificate", made) | false_cluster(founder, 1)
        await publish(connection, facts, storage)
        await asyncio.sleep(0.3)
    await asyncio.sleep(2)
    return {"why": connection.why}


@attack
async def fill_ledger(facts):
    """Many keys, many entries each, in the buckets of both kinds of nodes, some of a version that nothing outdoes."""
    connection = await in_the_room(facts)
    published, cut = 0, CutOff()
    for count in range(facts.keys):
        owner = Identity()
        bucket = ("services", "kairosNode", "users", "kairosElection")[count % 4] if facts.mixed else "services"
        storage, version = {bucket: {}}, 2**64 - 1 if facts.mixed and count % 2 else None
        for each in range(facts.each):
            if bucket == "services":
                key, value = f"hostile-{count}-{each}", json.dumps({"PeerID": owner.text, "Name": f"{count}-{each}"})
            else:
                key, value = f"{owner.text}/{each}" if bucket.startswith("kairos") else f"{count}-{each}-user", "0"
            storage[bucket][key] = entry(owner, bucket, key, value, version)
        with cut:
            await publish(connection, facts, storage, author=owner)
            published += facts.each
        if cut.seen:
            break
        await asyncio.sleep(facts.pause)
    await asyncio.sleep(0.5)
    return {"published": published, "cut off": cut.seen, "why": connection.why}


@attack
async def flood_with_signatures(facts):
    """Messages of small size with very many entries whose signatures are wrong."""
    connection, owner = await in_the_room(facts), Identity()
    signature = base64.b64encode(owner.sign(b"something else")).decode()
    ready()
    sizes, cut = [], CutOff()
    for _ in range(facts.messages):
        if cut.seen:
            break
        entries = ",".join(
            f'"{each}":{{"Value":"","Owner":"{owner.text}","Version":1,"UpdatedAt":0,"Deleted":false,'
            f'"Sig":"{signature}"}}' for each in range(facts.entries))  # fmt: skip
        text = '{"Index":1,"Timestamp":"x","Storage":{"%s":{%s}},"Hash":"h","PrevHash":""}' % (facts.bucket, entries)
        data = facts.holder.seal(text.encode())
        sizes.append(len(data))
        with cut:
            await connection.publish(facts.holder.topic, data, author=Identity())
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    return {"bytes": sizes, "cut off": cut.seen, "why": connection.why}


@attack
async def unpack_much(facts):
    """Sealed messages of some kilobytes that unpack to very much."""
    connection, cut = await in_the_room(facts), CutOff()
    ready()
    for filling in (b" " * (64 << 20), b"[" * (4 << 20), b'{"Storage":' * (1 << 20)):
        for _ in range(facts.messages):
            if connection.closed.is_set():
                # Who was thrown out comes again.
                connection = await in_the_room(facts)
            with cut:
                await connection.publish(facts.holder.topic, facts.holder.seal(filling), author=Identity())
        await asyncio.sleep(0.3)
    await asyncio.sleep(1)
    return {"cut off": cut.seen, "why": connection.why}


def links_record(member, network_tag):
    addresses = b"".join(prefixed(b"\x36" + prefixed(b"x" * 100) + b"\x06\0\1") for _ in range(8))
    record = b"\1" + prefixed(member.peer) + struct.pack(">Q", 10) + varint(8) + addresses
    record += varint(64) + b"".join(os.urandom(8) + b"\1" for _ in range(64))
    return record + member.sign(b"kairos/links/1.0.0" + prefixed(network_tag) + record)


@attack
async def ask_and_not_read(facts):
    """Admitted members that ask for one record thousands of times, and never read an answer."""
    import hashlib

    async def member():
        connection = Connection(token=facts.holder, protocols=OURS)
        await connection.connect(next(facts.targets_by_turn))
        await connection.be_admitted()
        record = links_record(connection.identity, facts.holder.derive("tag"))
        frame_of_record = b"\1" + varint(1) + prefixed(record)
        stream = connection.open(LINKS, prefixed(frame_of_record))
        await asyncio.sleep(0.3)
        connection.reads = False
        name = hashlib.sha256(connection.identity.peer).digest()[:8]
        return connection, stream, prefixed(b"\4" + varint(4096) + name * 4096)

    facts.targets_by_turn = facts.turns(facts.targets[:1])
    members, failures = await gather(facts.count, 12, member)
    ready()
    for _ in range(facts.rounds):
        for connection, stream, want in members:
            if stream.window > 0 and not connection.closed.is_set():
                stream.write(want)
        await asyncio.sleep(0.5)
    await asyncio.sleep(facts.seconds)
    return {"members": len(members), "alive": alive([member[0] for member in members]), "failures": failures}


# Who has no token.


async def newcomers(facts, count, reads=False, **more):
    async def one():
        connection = Connection(reads=reads, **more)
        return await connection.connect(next(facts.targets_by_turn), next(facts.sources_by_turn), seconds=4)

    return await gather(count, 24, one, seconds=6)


@attack
async def idle_connections(facts):
    """Connections that shake hands and then say nothing but that they live; renewed when they are closed."""
    connections, failures = await newcomers(facts, facts.count)
    ready()
    end, renewed = time.monotonic() + facts.seconds, 0
    while time.monotonic() < end:
        for connection in connections:
            if not connection.closed.is_set():
                connection.send(frame(2, SYN, 0, length=7))
        gone = len(connections) - alive(connections)
        connections = [each for each in connections if not each.closed.is_set()]
        fresh, _ = await newcomers(facts, min(gone, 24)) if gone else ([], {})
        connections, renewed = connections + fresh, renewed + len(fresh)
        await asyncio.sleep(0.5)
    return {"alive": alive(connections), "renewed": renewed, "failures": failures}


def streams_of(kind, count):
    """The first bytes of many streams on one connection."""
    openings = {
        "ping": MULTISTREAM + token(PING) + bytes(32),
        "nothing": b"",
        "no protocol": MULTISTREAM,
        "half": MULTISTREAM + b"\x40/ipfs",
        "huge token": MULTISTREAM + varint(1 << 40) + b"x" * 4000,
        "long token": MULTISTREAM + varint(60_000) + b"/" * 59_000,
        "unknown": MULTISTREAM + token("/hostile/1.0.0") + b"x" * 4000,
        "full": MULTISTREAM + token(GOSSIP) + varint(63_000) + b"x" * 62_000,
    }
    first = openings[kind]
    for number in range(1, 2 * count, 2):
        yield frame(DATA, SYN, number, first)


@attack
async def many_streams(facts):
    """Connections with many streams each, of one kind, whose answers are never read."""
    connections, failures = await newcomers(facts, facts.count)
    ready()
    for connection in connections:
        if not connection.closed.is_set():
            connection.send(b"".join(streams_of(facts.kind, facts.streams)))
        await asyncio.sleep(0)
    end = time.monotonic() + facts.seconds
    while time.monotonic() < end:
        await asyncio.sleep(1)
        for connection in connections:
            if facts.kind == "ping" and not connection.closed.is_set():
                connection.send(b"".join(frame(DATA, 0, each, bytes(32)) for each in range(1, 2 * facts.streams, 2)))
            await asyncio.sleep(0)
    return {"connected": len(connections), "alive": alive(connections), "failures": failures}


@attack
async def open_and_reset(facts):
    """Streams that are opened and reset at once, as fast as it goes."""
    connections, failures = await newcomers(facts, facts.count, reads=True)
    ready()
    end, number, streams = time.monotonic() + facts.seconds, 1, 0
    while time.monotonic() < end:
        for connection in connections:
            if not connection.closed.is_set():
                connection.send(b"".join(
                    frame(DATA, SYN, each, MULTISTREAM + token(IDENTIFY)) + frame(1, RST, each)
                    for each in range(number, number + 400, 2)))  # fmt: skip
                streams += 200
        number += 400
        await asyncio.sleep(0.02)
    return {"streams": streams, "alive": alive(connections), "failures": failures}


@attack
async def big_frames(facts):
    """Gossip frames that are announced as large, and sent nearly to their end."""
    connections, failures = await newcomers(facts, facts.count, reads=True)
    ready()

    async def one(connection):
        stream = connection.open(GOSSIP, varint(facts.announced))
        part = os.urandom(60_000)
        for _ in range(facts.announced // len(part)):
            await stream.send(part)

    done = await asyncio.gather(
        *(asyncio.wait_for(one(each), facts.seconds) for each in connections), return_exceptions=True)
    await asyncio.sleep(1)
    return {"sent": sum(each is None for each in done), "alive": alive(connections), "failures": failures}


@attack
async def false_addresses(facts):
    """Identities that visit once, say that they are EdgeVPN nodes, list addresses at which nobody answers, and leave."""

    async def visit():
        host = facts.dead
        addresses = [multiaddr(f"{host}.{200 + each % 40}", 1000 + each) for each in range(32)]
        connection = Connection(protocols=STOCK, addresses=addresses)
        await connection.connect(next(facts.targets_by_turn), next(facts.sources_by_turn))
        for _ in range(20):
            await asyncio.sleep(0.05)
            if IDENTIFY in connection.asked:
                await asyncio.sleep(0.1)
                break
        connection.close()
        return connection

    visits, failures = await gather(facts.count, 12, visit)
    return {"visits": len(visits), "identified": sum(IDENTIFY in v.asked for v in visits), "failures": failures}


@attack
async def slow_identify(facts):
    """Peers that say who they are one byte at a time."""
    connections, failures = await newcomers(facts, facts.count, reads=True, identify_delay=0.4)
    ready()
    await asyncio.sleep(facts.seconds)
    asked = sum(IDENTIFY in connection.asked for connection in connections)
    return {"asked": asked, "alive": alive(connections), "failures": failures}


@attack
async def silent_sockets(facts):
    """Sockets that never shake hands; opened again when they are closed. `stage` is how far they go before."""
    first = {
        "nothing": b"", "negotiated": MULTISTREAM + token("/noise"),
        "half": MULTISTREAM + token("/noise") + first_message()[2],
    }[facts.stage]  # fmt: skip
    loop, end, opened = asyncio.get_running_loop(), time.monotonic() + facts.seconds, 0

    async def hold(source, target):
        nonlocal opened
        while time.monotonic() < end:
            with socket.socket() as channel:
                channel.setblocking(False)
                channel.bind((source, 0))
                try:
                    await asyncio.wait_for(loop.sock_connect(channel, target), 2)
                    opened += 1
                    if first:
                        await loop.sock_sendall(channel, first)
                    left = max(0.01, end - time.monotonic())
                    while await asyncio.wait_for(loop.sock_recv(channel, 4096), left):
                        pass
                except (OSError, asyncio.TimeoutError):
                    await asyncio.sleep(0.05)

    holders = [
        asyncio.create_task(hold(source, target))
        for target in facts.targets for source in facts.sources for _ in range(facts.each)]  # fmt: skip
    await asyncio.sleep(0.5)
    ready()
    await asyncio.gather(*holders)
    return {"opened": opened}


@attack
async def announce_falsely(facts):
    """mDNS announcements of peers that do not exist, `rate` a second, from all sources in turn."""
    service = facts.service.rstrip(".")

    def name(text):
        return b"".join(bytes([len(part)]) + part for part in text.encode().split(b".")) + b"\0"

    def answer():
        peer = Identity().text if facts.fresh else base58(b"\x00\x24\x08\x01\x12\x20" + os.urandom(32))
        local, instance = f"{service}.local", os.urandom(16).hex()
        text = f"dnsaddr=/ip4/{facts.dead}.{os.urandom(1)[0] % 200 + 20}/tcp/4001/p2p/{peer}".encode()
        owner = bytes([len(instance)]) + instance.encode() + name(local)
        records = name(local) + struct.pack(">HHIH", 12, 1, 120, len(owner)) + owner
        records += owner + struct.pack(">HHIH", 16, 0x8001, 120, len(text) + 1) + bytes([len(text)]) + text
        return struct.pack(">HHHHHH", 0, 0x8400, 0, 2, 0, 0) + records

    channels = []
    for source in facts.sources:
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        channel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        channel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
        channel.bind((source, 5353))
        channels.append(channel)
    ready()
    start, sent = time.monotonic(), 0
    while (now := time.monotonic() - start) < facts.seconds:
        while sent < now * facts.rate:
            try:
                channels[sent % len(channels)].sendto(answer(), ("224.0.0.251", 5353))
            except OSError:
                pass
            sent += 1
        await asyncio.sleep(0.005)
    return {"announcements": sent}
