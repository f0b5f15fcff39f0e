"""A peer that means ill, for tests: it speaks as much of the protocols as an attack takes, and breaks what it likes.

    wire        varints, protocol buffers, base58, identities
    secure      the Noise handshake
    connection  yamux, protocol negotiation, identify, gossip, admission
    room        what holders of a network token can do: seal, sign ledger entries, prove
    decrees     certificates and registers of the election, well-formed and never decided
    attacks     what is done with all of that; `python3 -m hostile ATTACK JSON` runs one in a namespace
    target      a network that is attacked, and what has to stay as it was

It attacks nothing but nodes that a test has started, in namespaces of their own. Every attack has an end.
Needs Python's `cryptography` (scripts/setup).
"""
