import LibP2P
import Logging
import Multiformats
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import Timing

@testable import MulticastDNS

/// On real sockets, on the loopback interface alone.
@Suite("The multicast DNS service", .serialized)
struct MulticastDNSServiceTests {
    private struct Node {
        let service: MulticastDNSService
        let peer: PeerID
        let found: NIOLockedValueBox<[PeerID: [Multiaddr]]>
    }

    private func node(_ name: String, port: Int, loop: any EventLoop) async throws -> Node {
        let peer = Identity.generate().peerID
        let found = NIOLockedValueBox<[PeerID: [Multiaddr]]>([:])
        var discovery = ServiceDiscovery.Configuration(serviceName: name, localPeer: peer)
        discovery.includesLoopback = true
        var configuration = MulticastDNSService.Configuration(discovery: discovery)
        let others = try InterfaceScan.currentEntries().map(\.name).filter { $0 != "lo" }
        configuration.excludedInterfaces = InterfaceFilter(others)
        configuration.includesLoopback = true
        let fixed = configuration
        let service = try await loop.submit {
            try MulticastDNSService(
                configuration: fixed, eventLoop: loop, generator: .fromSystem(), logger: Logger(label: "test")
            ) { peer, addresses, _ in found.withLockedValue { $0[peer] = addresses } }
        }.get()
        service.updateAddresses([try Multiaddr("/ip4/127.0.0.1/tcp/\(port)")])
        try await service.start().get()
        return Node(service: service, peer: peer, found: found)
    }

    /// Waits until `condition` holds, at most ten seconds.
    private func wait(for what: String, _ condition: () async throws -> Bool) async throws {
        for _ in 0..<1000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("waited ten seconds in vain for \(what)")
    }

    @Test("two services on one machine find each other, and a stranger's network stays apart")
    func findEachOther() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let name = "t\(UInt64.random(in: 0 ... .max))"
        let first = try await node(name, port: 4001, loop: group.next())
        let second = try await node(name, port: 4002, loop: group.next())
        let stranger = try await node(name + "x", port: 4003, loop: group.next())
        try await wait(for: "both to find each other") {
            first.found.withLockedValue { $0[second.peer] != nil }
                && second.found.withLockedValue { $0[first.peer] != nil }
        }
        #expect(first.found.withLockedValue { $0[second.peer] } == [try Multiaddr("/ip4/127.0.0.1/tcp/4002")])
        #expect(try await first.service.servedInterfaces().get() == ["lo"])
        #expect(stranger.found.withLockedValue { $0.isEmpty })
        for node in [first, second, stranger] { try await node.service.stop().get() }
        try await group.shutdownGracefully()
    }
}
