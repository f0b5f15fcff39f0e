import Foundation
import LibP2P
import Multiformats
import NIOCore
import Testing

/// A py-libp2p host, driven by lines (`peer.py`).
final class PythonPeer {
    let peer: PeerID
    let address: Multiaddr
    private let child: Child

    init(in namespace: NetworkNamespace) throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "peer.py"
        ).path
        child = try namespace.start(
            Interop.requirement("venv/bin/python"), [script, "/ip4/\(namespace.address)/tcp/0"])
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
        return try child.readLine(within: 40)
    }
}

@Suite("py-libp2p", .enabled(if: Interop.isWanted), .serialized)
struct PythonTests {
    private let echo: ProtocolID = "/kairos-interop/echo/1.0.0"

    private func withPair(_ body: (PythonPeer, Node) async throws -> Void) async throws {
        let namespace = try NetworkNamespace()
        let python = try PythonPeer(in: namespace)
        let node = try await Node(in: namespace)
        do {
            try await body(python, node)
        } catch {
            await node.shutDown()
            throw error
        }
        await node.shutDown()
    }

    @Test("we dial it: identify, ping and streams work")
    func dial() async throws {
        try await withPair { python, node in
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

    @Test("it dials us: identify, ping and streams work")
    func beDialled() async throws {
        try await withPair { python, node in
            node.serveEcho(echo)
            let address = try #require(node.addresses.first).appending(peerID: node.swarm.localPeer.bytes)
            #expect(try python.ask("dial \(address)") == "connected \(node.swarm.localPeer)")
            _ = try await node.identified(python.peer)
            #expect(try python.ask("ping \(node.swarm.localPeer)") == "pong")
            #expect(try python.ask("echo \(node.swarm.localPeer) 300000") == "echoed 300000")
        }
    }
}
