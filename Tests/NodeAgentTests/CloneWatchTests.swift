import Coordination
import Multiformats
import Testing
import Timing

@testable import NodeAgent

@Suite("A key that is in use elsewhere")
struct CloneWatchTests {
    private let there: Multiaddr
    private let other: Multiaddr

    init() throws {
        there = try Multiaddr("/ip4/192.168.1.9/tcp/4001")
        other = try Multiaddr("/ip4/192.168.1.10/tcp/4001")
    }

    private func at(_ seconds: Double) -> Instant { .zero + .milliseconds(Int64(seconds * 1000)) }

    @Test("what anybody can say leads to a dial now and then, and to nothing else")
    func hearsay() {
        var watch = CloneWatch()
        var looks = 0
        for step in 0..<600 {
            let now = at(Double(step) / 10)
            let said = (0..<20).compactMap { try? Multiaddr("/ip4/10.0.\(step % 200).\($0)/tcp/1") }
            for effect in watch.receive(.heard(at: said), at: now) {
                guard case .look(let addresses) = effect else { return }
                looks += 1
                #expect(addresses.count <= CloneWatch.most.addresses)
            }
        }
        #expect(looks <= 12)
        #expect(watch.other == nil)
    }

    @Test("a connection that somebody opens with this node's key counts for a while, and is followed")
    func proof() {
        var watch = CloneWatch()
        #expect(watch.receive(.heard(at: [there]), at: at(1)) == [.look([there])])
        #expect(watch.receive(.proven(binding: [1], at: there, isInbound: true), at: at(1)) == [])
        #expect(watch.nextDeadline == at(2))
        #expect(watch.receive(.tick, at: at(2)) == [.found(there)])
        #expect(watch.receive(.heard(at: [there]), at: at(3)) == [])
        #expect(watch.nextDeadline == at(6))
        #expect(watch.receive(.tick, at: at(6)) == [.look([there])])
        _ = watch.receive(.proven(binding: [2], at: there, isInbound: true), at: at(8))
        #expect(watch.receive(.tick, at: at(9)) == [])
        // 16 seconds from the last sign, which was acted on at 9.
        #expect(watch.receive(.tick, at: at(24.9)).contains(.look([there])))
        #expect(watch.other != nil)
        #expect(watch.receive(.tick, at: at(25)) == [.found(nil)])
        #expect(watch.other == nil)
        #expect(watch.nextDeadline.map { $0 > at(25) } ?? true)
    }

    @Test("the far end of this node's own dial is no proof, in whichever order the two ends are done")
    func ledBack() {
        for ownIsFirst in [true, false] {
            var watch = CloneWatch()
            let ends = ownIsFirst ? [false, true] : [true, false]
            for isInbound in ends {
                _ = watch.receive(.proven(binding: [7], at: there, isInbound: isInbound), at: at(1))
            }
            #expect(watch.receive(.tick, at: at(10)) == [])
            #expect(watch.other == nil)
        }
        // Nor is that this node's dial came through: somebody may have led it back and held the rest.
        var watch = CloneWatch()
        _ = watch.receive(.proven(binding: [7], at: there, isInbound: false), at: at(1))
        #expect(watch.receive(.tick, at: at(10)) == [])
        #expect(watch.other == nil)
    }

    @Test("its deadlines are met: a tick at one moves it on")
    func deadlines() {
        var watch = CloneWatch()
        _ = watch.receive(.heard(at: [there, other]), at: at(0))
        _ = watch.receive(.proven(binding: [1], at: there, isInbound: true), at: at(0))
        var now = at(0)
        for _ in 0..<40 {
            guard let deadline = watch.nextDeadline else { break }
            #expect(deadline > now)
            now = deadline
            _ = watch.receive(.tick, at: now)
        }
        #expect(watch.other == nil)
    }

    // MARK: the node

    @Test("a node whose key is elsewhere neither votes nor leases, and starts no K3s that does not run")
    func still() throws {
        for runs in [true, false] {
            var node = try TestNode(servers: ["me"]) { $0.keyIsNew = false }
            node.put(.start, at: 0)
            #expect(
                node.assignment == nil && node.core.leaseServers?.keepsStill == true && !node.core.mayVote)
            #expect(node.core.nextDeadline == at(3))
            if runs {
                node.put(.tick, at: 3)
                #expect(
                    node.assignment != nil && node.core.leaseServers?.keepsStill == false && node.core.mayVote
                )
            }
            node.put(.ownKeyProven(binding: [1], at: there, isInbound: true), at: runs ? 4 : 1)
            node.put(.tick, at: runs ? 5 : 3)
            #expect(node.does { if case .keyIsElsewhere(.some) = $0 { true } else { false } })
            #expect(
                node.core.leaseServers?.keepsStill == true && !node.core.mayVote && node.assignment == nil)
            #expect(node.core.warnings.contains { $0.contains("192.168.1.9") })
            #expect(node.core.waiting.isEmpty == runs)
            node.put(.tick, at: 70)
            #expect(node.core.leaseServers?.keepsStill == false && node.core.mayVote)
            #expect(!node.core.warnings.contains { $0.contains("this node's key") })
            #expect((node.assignment != nil) == !runs)
        }
    }
}
