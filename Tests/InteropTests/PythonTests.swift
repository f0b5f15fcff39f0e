import Foundation
import GossipSub
import LibP2P
import Multiformats
import NIOCore
import Testing

/// A py-libp2p host, driven by lines (`peer.py`).
final class PythonPeer {
    let peer: PeerID
    let address: Multiaddr
    private let child: Child
    private var messages: [String] = []

    init(in namespace: NetworkNamespace, security: Node.Security) throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "peer.py"
        ).path
        child = try namespace.start(
            Interop.requirement("venv/bin/python"),
            [script, "/ip4/\(namespace.address)/tcp/0", security.rawValue])
        let words = try child.readLine(within: 60).split(separator: " ")
        guard words.count == 2, words[0] == "ready" else {
            throw InteropError("peer.py did not become ready")
        }
        address = try Multiaddr(String(words[1]))
        peer = try PeerID(bytes: address.peerIDBytes ?? [])
    }

    /// Says `command` and returns the answer.
    func ask(_ command: String) throws -> String {
        try child.input.fileHandleForWriting.write(contentsOf: Data((command + "\n").utf8))
        while true {
            let line = try child.readLine(within: 40)
            guard line.hasPrefix("message ") else { return line }
            messages.append(line)
        }
    }

    /// Waits for the gossip message `text` by `author`.
    func waitForMessage(_ text: String, by author: PeerID) throws {
        while messages.last != "message \(author) \(text)" { messages.append(try child.readLine()) }
    }
}

@Suite("py-libp2p", .enabled(if: Interop.isWanted), .serialized)
struct PythonTests {
    private let echo: ProtocolID = "/kairos-interop/echo/1.0.0"

    private func withPair(
        _ security: Node.Security = .noise, _ body: (PythonPeer, Node) async throws -> Void
    ) async throws {
        let namespace = try NetworkNamespace()
        let python = try PythonPeer(in: namespace, security: security)
        let node = try await Node(in: namespace)
        do {
            try await body(python, node)
        } catch {
            await node.shutDown()
            throw error
        }
        await node.shutDown()
    }

    @Test(
        "we dial it: identify, ping and streams work", arguments: [Node.Security.noise, .tls])
    func dial(security: Node.Security) async throws {
        try await withPair(security) { python, node in
            let address = try #require(python.address.withoutPeerID)
            try await node.swarm.dial(python.peer, addresses: [address]).get()
            let information = try await node.identified(python.peer)
            #expect(information.protocols.contains(echo))
            #expect(try await node.swarm.ping(python.peer).get() < .seconds(10))
            for size in [1, 70000, 500_000] {
                let bytes = pattern(size)
                #expect(try await node.echo(bytes, to: python.peer, echo) == bytes, "\(size) bytes")
            }
        }
    }

    @Test(
        "it dials us: identify, ping and streams work", arguments: [Node.Security.noise, .tls])
    func beDialled(security: Node.Security) async throws {
        try await withPair(security) { python, node in
            node.serveEcho(echo)
            let address = try #require(node.addresses.first).appending(peerID: node.swarm.localPeer.bytes)
            #expect(try python.ask("dial \(address)") == "connected \(node.swarm.localPeer)")
            _ = try await node.identified(python.peer)
            #expect(try python.ask("ping \(node.swarm.localPeer)") == "pong")
            #expect(try python.ask("echo \(node.swarm.localPeer) 300000") == "echoed 300000")
        }
    }

    @Test("signed messages are gossiped both ways")
    func gossip() async throws {
        try await withPair { python, node in
            let topic = "kairos-interop"
            let gossip = try await Gossip(on: node)
            gossip.subscribe(to: topic)
            #expect(try python.ask("subscribe \(topic)") == "subscribed")
            let address = try #require(python.address.withoutPeerID)
            try await node.swarm.dial(python.peer, addresses: [address]).get()
            try await gossip.waitForMesh(with: python.peer, in: topic)
            #expect(try python.ask("publish \(topic) from-python") == "published")
            let message = try await gossip.message(with: Array("from-python".utf8))
            #expect(message.author == python.peer)
            try await gossip.publish(Array("from-swift".utf8), on: topic)
            try python.waitForMessage("from-swift", by: node.swarm.localPeer)
        }
    }
}
