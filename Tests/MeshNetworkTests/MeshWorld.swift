import Foundation
import GossipSub
import Ledger
import LibP2P
import Logging
import MeshNetwork
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Timing

/// Clocks of which the wall clock can be set.
final class SettableTime: TimeSource {
    private let offset: NIOLockedValueBox<Duration>
    private let system = SystemTime()

    init(offset: Duration = .zero) {
        self.offset = NIOLockedValueBox(offset)
    }

    func now() -> Instant { system.now() }
    func wallClock() -> UnixTime { system.wallClock() + offset.withLockedValue { $0 } }
    func shift(by duration: Duration) { offset.withLockedValue { $0 += duration } }
}

/// Meshes over real swarms on loopback, ended with the test.
final class MeshWorld: Sendable {
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    struct Node: Sendable {
        let swarm: Swarm
        let identity: Identity
        let mesh: MeshService
        let events: NIOLockedValueBox<[MeshEvent]>
        var peer: PeerID { swarm.localPeer }

        /// Entries that changed so far, by ID.
        var changes: [EntryChange] {
            events.withLockedValue { events in
                events.flatMap { event -> [EntryChange] in
                    if case .ledgerChanged(let changes) = event { return changes }
                    return []
                }
            }
        }

        func dial(_ other: Swarm) async throws {
            try await swarm.dial(other.localPeer, addresses: other.listenAddresses().get()).get()
        }

        func value(_ id: EntryID) async throws -> LedgerText? { try await mesh.value(id).get() }
    }

    private let cleanups = NIOLockedValueBox<[@Sendable () async -> Void]>([])

    static func run(_ body: (MeshWorld) async throws -> Void) async throws {
        let world = MeshWorld()
        do {
            try await body(world)
        } catch {
            await world.end()
            throw error
        }
        await world.end()
    }

    private func end() async {
        for cleanup in cleanups.withLockedValue({ $0 }).reversed() { await cleanup() }
    }

    func swarm(_ identity: Identity) async throws -> Swarm {
        let swarm = try await Swarm.make(
            identity: identity, security: [NoiseSecurity(identity: identity)], group: Self.group
        ).get()
        _ = try await swarm.listen(on: [Multiaddr("/ip4/127.0.0.1/tcp/0")]).get()
        cleanups.withLockedValue { $0.append { try? await swarm.shutDown().get() } }
        return swarm
    }

    func node(
        _ token: NetworkToken, identity: Identity = .generate(), snapshotPath: String? = nil,
        time: any TimeSource = SystemTime(), surplusGrace: Duration = .seconds(10)
    ) async throws -> Node {
        let swarm = try await swarm(identity)
        let events = NIOLockedValueBox<[MeshEvent]>([])
        var configuration = MeshConfiguration(token: token, identity: identity, snapshotPath: snapshotPath)
        configuration.seed = 1
        configuration.overlay.surplusGrace = surplusGrace
        let mesh = try await MeshService.start(
            on: swarm, configuration: configuration, time: time, logger: Self.logger
        ) { event in events.withLockedValue { $0.append(event) } }.get()
        cleanups.withLockedValue { $0.append { try? await mesh.shutDown().get() } }
        return Node(swarm: swarm, identity: identity, mesh: mesh, events: events)
    }

    /// A node as stock ones are: it gossips, and knows neither admission nor digests.
    func stock(_ identity: Identity = .generate()) async throws -> (Swarm, GossipSubService, ReceivedData) {
        let swarm = try await swarm(identity)
        let received = ReceivedData()
        let gossip = try await swarm.eventLoop.submit {
            let gossip = GossipSubService(
                host: swarm, identity: identity, generator: SeededGenerator(seed: 2), logger: Self.logger
            ) { message in
                received.append(Array(message.data))
                return .accept
            }
            gossip.start()
            return gossip
        }.get()
        cleanups.withLockedValue { $0.append { gossip.stop() } }
        return (swarm, gossip, received)
    }

    static var logger: Logger {
        var logger = Logger(label: "mesh-tests")
        logger.logLevel = .error
        return logger
    }
}

/// What a stock node heard.
final class ReceivedData: Sendable {
    private let data = NIOLockedValueBox<[[UInt8]]>([])
    func append(_ bytes: [UInt8]) { data.withLockedValue { $0.append(bytes) } }
    var all: [[UInt8]] { data.withLockedValue { $0 } }
}

/// Waits until `condition` holds, at most `limit`, and records what was waited for when it does not.
func eventually(
    _ what: String, within limit: Duration = .seconds(10), sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("waited \(limit) for \(what)", sourceLocation: sourceLocation)
}
