import Foundation
import GossipSub
import Ledger
import LibP2P
import Testing

@testable import MeshNetwork

@Suite("memory bounds")
struct MemoryBoundsTests {
    /// `MemoryMax` of the unit that is shipped, in bytes.
    private func memoryMax() throws -> Int {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let unit = try String(
            contentsOf: root.appending(path: "systemd/kairos-agent.service"), encoding: .utf8)
        let line = try #require(unit.split(separator: "\n").first { $0.hasPrefix("MemoryMax=") })
        let value = line.dropFirst("MemoryMax=".count)
        let unitSize = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30][value.suffix(1)]
        return try #require(Int(value.dropLast())) * (try #require(unitSize))
    }

    @Test("all that others can make this node hold fits into the memory that its unit gives it")
    func sum() throws {
        let swarm = SwarmLimits()
        let ledger = LedgerLimits()
        let bounds: [(what: String, bytes: Int)] = [
            ("queues and buffers, by the standing of peers", MemoryBudget.Shares().total),
            ("sockets and connections themselves", swarm.fixedBytes),
            ("messages that the router keeps for others", Parameters().keptBytes),
            // Ledger, links and leases.
            ("messages that wait for streams to open", 3 * PeerStreams.maximumWaiting),
            // Once more while it is written to disk.
            ("the ledger", 2 * ledger.maximumBytes + ledger.verificationCacheSize * 128),
            ("records of the overlay", Overlay.maximumKnown * (LinkRecord.maximumLength + 1024)),
            ("addresses of the swarm", swarm.rememberedPeers * (1024 + swarm.addressesPerPeer * 64)),
            (
                "what peers say of themselves",
                (swarm.unprovenConnections + swarm.connections + swarm.keptConnections)
                    * IdentifyMessage.keptBytes
            ),
            // Resident at rest, measured: 13 to 16 MB.
            ("the program", 18 << 20),
        ]
        let sum = bounds.reduce(0) { $0 + $1.bytes }
        let limit = try memoryMax()
        let lines = bounds.map { "\($0.bytes >> 20) MB \($0.what)" }.joined(separator: "\n")
        #expect(sum <= limit, "\(sum >> 20) MB of \(limit >> 20) MB:\n\(lines)")
    }

    @Test("unproven peers alone stay below half of it, with the program")
    func unproven() throws {
        let swarm = SwarmLimits()
        let sum =
            MemoryBudget.Shares().unproven + swarm.pendingInbound * SwarmLimits.handshakeBytes
            + swarm.unprovenConnections * SwarmLimits.connectionBytes + (18 << 20)
        #expect(sum <= 128 << 20, "\(sum >> 20) MB")
    }
}
