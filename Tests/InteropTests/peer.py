"""A py-libp2p host for the tests: listens on the address given, secured with "tls" or "noise" as the
second argument says, echoes on one protocol, and obeys lines on standard input. Every answer is one line.

    dial ADDRESS      ->  connected PEER | failed REASON
    echo PEER COUNT   ->  echoed COUNT | failed REASON
    ping PEER         ->  pong | failed REASON
    subscribe TOPIC   ->  subscribed | failed REASON
    publish TOPIC TEXT     ->  published | failed REASON

A message of a subscribed topic is a line of its own, at any time:  message AUTHOR TEXT
"""

import sys

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair as new_identity
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11 as GOSSIP
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.security.tls.transport import PROTOCOL_ID as TLS
from libp2p.security.tls.transport import TLSTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

ECHO = TProtocol("/kairos-interop/echo/1.0.0")


def say(text):
    print(text, flush=True)


async def serve_echo(stream):
    try:
        while data := await stream.read(65536):
            await stream.write(data)
    except Exception:
        pass
    finally:
        await stream.close()


async def echo(host, peer, count):
    stream = await host.new_stream(ID.from_base58(peer), [ECHO])
    sent = bytes(index * 31 % 251 for index in range(count))
    received = b""

    async def read():
        nonlocal received
        while len(received) < count:
            data = await stream.read(65536)
            if not data:
                raise EOFError(f"the stream ended after {len(received)} bytes")
            received += data

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for start in range(0, count, 16384):
            await stream.write(sent[start : start + 16384])
    await stream.close()
    if received != sent:
        raise ValueError("the echo differs")
    return f"echoed {len(received)}"


async def dial(host, address):
    info = info_from_p2p_addr(Multiaddr(address))
    await host.connect(info)
    return f"connected {info.peer_id}"


async def ping(host, peer):
    await PingService(host).ping(ID.from_base58(peer), ping_amt=1)
    return "pong"


async def subscribe(pubsub, nursery, topic):
    subscription = await pubsub.subscribe(topic)

    async def read():
        while True:
            message = await subscription.get()
            say(f"message {ID(message.from_id).to_base58()} {message.data.decode()}")

    nursery.start_soon(read)
    return "subscribed"


async def publish(pubsub, topic, text):
    await pubsub.publish(topic, text.encode())
    return "published"


async def obey(host, pubsub, nursery, verb, words):
    match verb:
        case "dial":
            return await dial(host, words[0])
        case "echo":
            return await echo(host, words[0], int(words[1]))
        case "ping":
            return await ping(host, words[0])
        case "subscribe":
            return await subscribe(pubsub, nursery, words[0])
        case "publish":
            return await publish(pubsub, words[0], words[1])
        case _:
            return f"failed no such verb as {verb}"


async def main():
    identity = new_identity()
    if sys.argv[2] == "tls":
        security = {TLS: TLSTransport(libp2p_keypair=identity)}
    else:
        security = {NOISE: Noise(libp2p_keypair=identity, noise_privkey=new_noise_key().private_key)}
    host = new_host(key_pair=identity, sec_opt=security, muxer_preference="YAMUX")
    host.set_stream_handler(ECHO, serve_echo)
    router = GossipSub([GOSSIP], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1)
    pubsub = Pubsub(host, router)
    async with (
        host.run(listen_addrs=[Multiaddr(sys.argv[1])]),
        background_trio_service(pubsub),
        background_trio_service(router),
        trio.open_nursery() as nursery,
    ):
        say(f"ready {host.get_addrs()[0]}")
        lines = trio.lowlevel.FdStream(0)
        pending = b""
        while data := await lines.receive_some(4096):
            pending += data
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                verb, *words = line.decode().split()
                try:
                    with trio.fail_after(30):
                        say(await obey(host, pubsub, nursery, verb, words))
                except Exception as error:
                    say(f"failed {type(error).__name__} {error}".replace("\n", " "))
        nursery.cancel_scope.cancel()


trio.run(main)
