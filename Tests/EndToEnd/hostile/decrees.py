"""Certificates and registers of the election that are well-formed, and that nobody has decided."""

import base64
import hashlib
import json
import struct

from .room import entry, lengthened
from .wire import from_base58

BUCKET = "kairosElection"
# The highest number that the agent reads from the wire.
GREATEST = 2**48 - 1


def number(value):
    return lengthened(struct.pack(">Q", value))


def peers(texts):
    return number(len(texts)) + b"".join(lengthened(from_base58(text)) for text in texts)


def server(identity, name="hostile"):
    return {"peer": identity.text, "uuid": name}


def decree(number, epoch, founder, servers=None, voters=(), running=True, forgotten=()):
    return {
        "number": number, "epoch": epoch, "founder": founder, "running": running,
        "servers": servers or [founder], "forgotten": list(forgotten), "voters": list(voters),
    }  # fmt: skip


def decree_fields(decree):
    def one(server):
        return lengthened(from_base58(server["peer"])) + lengthened(server["uuid"])

    return (
        number(decree["number"]) + number(decree["epoch"]) + one(decree["founder"]) + number(decree["running"])
        + number(len(decree["servers"])) + b"".join(map(one, decree["servers"])) + peers(decree["forgotten"])
    )  # fmt: skip


def digest(decree):
    text = lengthened("kairos decree 2") + decree_fields(decree) + peers(decree["voters"])
    return hashlib.sha256(text).digest()


def statement(network, electorate, acceptor, ballot, decree):
    """What an acceptor signs. `electorate` is {"members": quorum}, {"voters": […]} or {"recovered": […]}."""
    ((kind, who),) = electorate.items()
    return (
        lengthened("kairos decree accept 2") + lengthened(network) + lengthened(kind)
        + (number(who) if kind == "members" else peers(who))
        + lengthened(acceptor.peer) + number(ballot["round"]) + lengthened(from_base58(ballot["proposer"]))
        + number(decree["number"]) + peers(decree["voters"]) + lengthened(digest(decree))
    )  # fmt: skip


def former_statement(network, quorum, acceptor, ballot, decree):
    """The same of builds whose decrees named no voters."""
    return (
        lengthened("kairos decree accept 1") + lengthened(network) + number(quorum) + lengthened(acceptor.peer)
        + number(ballot["round"]) + lengthened(from_base58(ballot["proposer"])) + decree_fields(decree)
        + number(quorum)
    )  # fmt: skip


def signatures(acceptors, text):
    return {each.text: base64.b64encode(each.sign(text(each))).decode() for each in acceptors}


def certificate(network, electorate, proposer, acceptors, decree, links=(), round=1):
    ballot = {"round": round, "proposer": proposer.text}
    made = {
        "network": network, "electorate": electorate, "ballot": ballot, "decree": decree,
        "signatures": signatures(acceptors, lambda each: statement(network, electorate, each, ballot, decree)),
    }  # fmt: skip
    return {**made, "links": list(links)} if links else made


def link(network, electorate, proposer, acceptors, decree):
    """A former decision at which the voters changed, for the way to a certificate."""
    made = certificate(network, electorate, proposer, acceptors, decree)
    return {
        "number": decree["number"], "electorate": electorate, "ballot": made["ballot"], "voters": decree["voters"],
        "digest": base64.b64encode(digest(decree)).decode(), "signatures": made["signatures"],
    }  # fmt: skip


def former_certificate(network, quorum, proposer, acceptors, decree):
    ballot = {"round": 1, "proposer": proposer.text}
    decree = {**{key: value for key, value in decree.items() if key != "voters"}, "quorum": quorum}
    return {
        "scope": {"network": network, "quorum": quorum}, "ballot": ballot, "decree": decree,
        "signatures": signatures(acceptors, lambda each: former_statement(network, quorum, each, ballot, decree)),
    }  # fmt: skip


def register(network, quorum, number, **more):
    return {
        "version": 2, "scope": {"network": network, "quorum": quorum}, "uuid": "hostile", "name": "hostile",
        "number": number, **more,
    }  # fmt: skip


def stored(owner, kind, document, version=None):
    """{bucket: {key: entry}} of a register or a certificate."""
    key = f"{owner.text}/kairos/{kind}"
    return {BUCKET: {key: entry(owner, BUCKET, key, json.dumps(document), version)}}
