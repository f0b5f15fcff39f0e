import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@Suite("swarm decisions")
struct SwarmCoreTests {
    private typealias Effect = SwarmCore.Effect

    private func peer(_ number: UInt8) throws -> PeerID {
        // The identity multihash of one byte: IDs whose order is their number's.
        try PeerID(bytes: [0, 1, number])
    }

    private func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: 1_000_000_000) + .nanoseconds(Int64(seconds * 1e9))
    }

    private func info(
        _ id: UInt64, _ direction: ConnectionDirection = .outbound,
        from address: String = "/ip4/10.0.0.9/tcp/9"
    ) throws -> ConnectionInfo {
        ConnectionInfo(
            id: ConnectionID(rawValue: id), direction: direction, remoteAddress: try Multiaddr(address),
            localAddress: try Multiaddr("/ip4/10.0.0.1/tcp/1"), channelBinding: [])
    }

    private func core(_ configure: (inout SwarmLimits) -> Void = { _ in }) throws -> SwarmCore {
        var limits = SwarmLimits()
        // Nobody judges peers here; SwarmStandingTests do.
        limits.newcomers = .admitted
        configure(&limits)
        return SwarmCore(localPeer: try peer(5), limits: limits, seed: 1)
    }

    private func dials(_ effects: [SwarmCore.Effect]) -> [(SwarmCore.AttemptID, String)] {
        effects.compactMap { effect in
            if case .dial(let attempt, _, let address, _) = effect {
                (attempt, address.description)
            } else {
                nil
            }
        }
    }

    /// Runs the core's own timers until `end` and returns what it did, with the seconds.
    private func run(
        _ core: inout SwarmCore, until end: Instant, _ react: (Effect, Instant, inout SwarmCore) -> Void
    ) {
        var steps = 0
        while let deadline = core.nextDeadline, deadline <= end, steps < 10_000 {
            steps += 1
            for effect in core.receive(.tick, at: deadline) { react(effect, deadline, &core) }
        }
        #expect(steps < 10_000, "the core asks for ticks without end")
    }

    @Test("addresses are dialled IPv6 first, lowest port first, each a step later; a failure skips the wait")
    func staggered() throws {
        var core = try core()
        let addresses = try [
            "/ip4/10.0.0.2/tcp/7", "/ip4/10.0.0.2/tcp/4", "/ip6/fd00::2/tcp/9", "/ip4/8.8.8.8/tcp/1",
            "/ip4/10.0.0.2/udp/4/quic-v1",
        ].map { try Multiaddr($0) }
        let effects = core.receive(.dial(try peer(1), addresses: addresses), at: at(0))
        #expect(dials(effects).map(\.1) == ["/ip6/fd00::2/tcp/9", "/ip4/8.8.8.8/tcp/1"])
        #expect(core.nextDeadline == at(0.03))
        #expect(dials(core.receive(.tick, at: at(0.03))).map(\.1) == ["/ip4/10.0.0.2/tcp/4"])
        for (attempt, _) in dials(effects) {
            _ = core.receive(.attemptFailed(attempt, reason: "no"), at: at(0.04))
        }
        #expect(core.nextDeadline == at(0.06))
        #expect(dials(core.receive(.tick, at: at(0.06))).map(\.1) == ["/ip4/10.0.0.2/tcp/7"])
        for effect in effects {
            guard case .dial(_, _, let address, let timeout) = effect else { continue }
            #expect(timeout == (address.reach == .public ? .seconds(15) : .seconds(5)))
        }
    }

    @Test("the first connection ends the dial and cancels the other attempts")
    func firstWins() throws {
        var core = try core()
        let addresses = try ["/ip4/10.0.0.2/tcp/1", "/ip4/10.0.0.2/tcp/2"].map { try Multiaddr($0) }
        let first = dials(core.receive(.dial(try peer(1), addresses: addresses), at: at(0)))
        let second = dials(core.receive(.tick, at: at(0.03)))
        let connection = try info(1)
        let effects = core.receive(.opened(try peer(1), connection, attempt: first[0].0), at: at(0.05))
        #expect(
            effects == [
                .accepted(try peer(1), connection, isFirst: true), .cancel(second[0].0),
                .dialEnded(try peer(1), nil),
            ])
        #expect(core.preferredConnection(to: try peer(1)) == connection.id)
        #expect(core.nextDeadline == nil)
    }

    @Test("an address that failed is in back-off: 5 s and the square of the tries, at most 5 minutes")
    func backoff() throws {
        var core = try core()
        let address = try Multiaddr("/ip4/10.0.0.2/tcp/1")
        var now = at(0)
        for wait in [6.0, 9, 14, 21, 30] {
            let attempt = dials(core.receive(.dial(try peer(1), addresses: [address]), at: now))
            #expect(attempt.count == 1)
            let ended = core.receive(.attemptFailed(try #require(attempt.first).0, reason: "no"), at: now)
            guard case .dialEnded(_, .dialFailed(let reasons)?)? = ended.first else {
                Issue.record("\(ended)")
                return
            }
            #expect(reasons == ["/ip4/10.0.0.2/tcp/1: no"])
            let early = core.receive(
                .dial(try peer(1), addresses: [address]), at: now + .milliseconds(Int64(wait * 1000) - 1))
            #expect(early == [.dialEnded(try peer(1), .backingOff(.milliseconds(1)))])
            now += .milliseconds(Int64(wait * 1000))
        }
        for _ in 0..<40 {
            now += .seconds(300)
            let attempt = dials(core.receive(.dial(try peer(1), addresses: [address]), at: now))
            _ = core.receive(.attemptFailed(try #require(attempt.first).0, reason: "no"), at: now)
        }
    }

    @Test("a kept peer is redialled with back-off for ever, and not once it is no longer kept")
    func kept() throws {
        var core = try core()
        let target = try peer(1)
        let address = try Multiaddr("/ip4/10.0.0.2/tcp/1")
        var times: [Double] = []
        func fail(_ effect: Effect, _ now: Instant, _ core: inout SwarmCore) {
            guard case .dial(let attempt, _, _, _) = effect else { return }
            times.append((now - at(0)).inSeconds)
            _ = core.receive(.attemptFailed(attempt, reason: "no"), at: now)
        }
        for effect in core.receive(.keepConnected(true, target, addresses: [address]), at: at(0)) {
            fail(effect, at(0), &core)
        }
        run(&core, until: at(3600), fail)
        let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
        #expect(gaps.count > 10)
        for (index, gap) in gaps.enumerated() {
            let expected = min(300, 5 + Double((index + 1) * (index + 1)))
            #expect(gap >= expected * 0.89 && gap <= expected * 1.11, "gap \(index) is \(gap)")
        }
        _ = core.receive(.keepConnected(false, target, addresses: []), at: at(3600))
        #expect(core.nextDeadline == nil)
    }

    @Test("after a long-lived connection drops, a kept peer is tried several times within seconds")
    func quickRedial() throws {
        var core = try core()
        let target = try peer(1)
        let first = dials(
            core.receive(
                .keepConnected(true, target, addresses: [try Multiaddr("/ip4/10.0.0.2/tcp/1")]), at: at(0)))
        _ = core.receive(.opened(target, try info(1), attempt: first[0].0), at: at(0))
        _ = core.receive(.closed(ConnectionID(rawValue: 1)), at: at(60))
        var times: [Double] = []
        run(&core, until: at(80)) { effect, now, core in
            guard case .dial(let attempt, _, _, _) = effect else { return }
            times.append((now - at(60)).inSeconds)
            _ = core.receive(.attemptFailed(attempt, reason: "refused"), at: now)
        }
        try #require(times.count >= 5)
        #expect(times[0] < 0.2)
        #expect(times[1] < 1)
        #expect(times[3] < 4.5)
        #expect(times[4] > 7)
    }

    @Test("both ends of a simultaneous dial prefer the connection that the smaller ID dialled")
    func simultaneous() throws {
        for (local, remote, preferred) in [(5, 9, ConnectionDirection.outbound), (5, 1, .inbound)]
            as [(UInt8, UInt8, _)]
        {
            for order in [[ConnectionDirection.inbound, .outbound], [.outbound, .inbound]] {
                var limits = SwarmLimits()
                limits.newcomers = .admitted
                var core = SwarmCore(localPeer: try peer(local), limits: limits, seed: 1)
                let target = try peer(remote)
                for (index, direction) in order.enumerated() {
                    _ = core.receive(
                        .opened(target, try info(UInt64(index), direction), attempt: nil),
                        at: at(Double(index)))
                }
                let id = try #require(core.preferredConnection(to: target))
                #expect(core.connections(to: target).first { $0.id == id }?.direction == preferred)
                // The other is one of ours: the smaller ID closes the surplus after a while.
                _ = core.receive(.identified(target, addresses: [], isOurs: true), at: at(2))
                var closed: [ConnectionID] = []
                run(&core, until: at(60)) { effect, _, _ in
                    if case .close(let id, .supplanted) = effect { closed.append(id) }
                }
                #expect(closed.count == (local < remote ? 1 : 0))
                #expect(!closed.contains(id))
            }
        }
    }

    @Test("a peer that dials again later has lost the old connection: the new one is preferred")
    func newerWins() throws {
        var core = try core()
        let target = try peer(9)
        _ = core.receive(.opened(target, try info(1, .outbound), attempt: nil), at: at(0))
        _ = core.receive(.opened(target, try info(2, .inbound), attempt: nil), at: at(100))
        #expect(core.preferredConnection(to: target) == ConnectionID(rawValue: 2))
    }

    @Test("no connection of a stock node is closed on our own initiative")
    func stockNodes() throws {
        var core = try core()
        let target = try peer(9)
        for id: UInt64 in 1...3 { _ = core.receive(.opened(target, try info(id), attempt: nil), at: at(0)) }
        _ = core.receive(.identified(target, addresses: [], isOurs: false), at: at(1))
        #expect(core.nextDeadline == nil)
    }

    @Test("connections above the limits are refused")
    func limits() throws {
        var core = try core {
            $0.connections = 3
            $0.connectionsPerPeer = 2
        }
        for id: UInt64 in 1...2 {
            _ = core.receive(.opened(try peer(1), try info(id, .inbound), attempt: nil), at: at(0))
        }
        #expect(
            core.receive(.opened(try peer(1), try info(3, .inbound), attempt: nil), at: at(0)) == [
                .refuse(ConnectionID(rawValue: 3), .resourceLimit)
            ])
        _ = core.receive(.opened(try peer(2), try info(4, .inbound), attempt: nil), at: at(0))
        #expect(
            core.receive(.opened(try peer(3), try info(5, .inbound), attempt: nil), at: at(0)) == [
                .refuse(ConnectionID(rawValue: 5), .resourceLimit)
            ])
        #expect(core.connectionCount == 3)
    }

    @Test("attempts above the limit wait for others to end")
    func attemptLimit() throws {
        var core = try core { $0.dialAttempts = 1 }
        let address = try Multiaddr("/ip4/10.0.0.2/tcp/1")
        let first = dials(core.receive(.dial(try peer(1), addresses: [address]), at: at(0)))
        #expect(first.count == 1)
        #expect(dials(core.receive(.dial(try peer(2), addresses: [address]), at: at(0))).isEmpty)
        #expect(core.nextDeadline == nil)
        #expect(dials(core.receive(.attemptFailed(first[0].0, reason: "no"), at: at(1))).count == 1)
    }

    @Test("blocked networks are not dialled, and their connections end")
    func blocked() throws {
        var core = try core()
        let target = try peer(1)
        _ = core.receive(
            .opened(target, try info(1, .inbound, from: "/ip4/10.1.0.7/tcp/9"), attempt: nil), at: at(0))
        let subnet = try #require(Subnet(address: .v4(IPv4Address(0x0a01_0000)), prefixLength: 24))
        #expect(
            core.receive(.block(AddressBlocklist([subnet])), at: at(0)) == [
                .close(ConnectionID(rawValue: 1), .gated)
            ])
        #expect(
            core.receive(.dial(try peer(2), addresses: [try Multiaddr("/ip4/10.1.0.8/tcp/9")]), at: at(0))
                == [
                    .dialEnded(try peer(2), .noDialableAddress)
                ])
        #expect(
            core.receive(
                .opened(try peer(3), try info(2, .inbound, from: "/ip6/::ffff:10.1.0.9/tcp/9"), attempt: nil),
                at: at(0)) == [.refuse(ConnectionID(rawValue: 2), .gated)])
    }

    @Test("this node does not dial itself")
    func selfDial() throws {
        var core = try core()
        let address = try Multiaddr("/ip4/10.0.0.2/tcp/1")
        #expect(
            core.receive(.dial(try peer(5), addresses: [address]), at: at(0)) == [
                .dialEnded(try peer(5), .dialToSelf)
            ])
        _ = core.receive(.keepConnected(true, try peer(5), addresses: [address]), at: at(0))
        #expect(core.nextDeadline == nil)
    }

    @Test("any order of news keeps the books in balance", arguments: 0..<30)
    func fuzz(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var core = try core {
            $0.connections = 8
            $0.newcomers = seed % 2 == 0 ? .admitted : .unproven
            $0.unprovenConnections = 4
            $0.unprovenPerAddress = 3
            $0.dialAttempts = 4
            $0.rememberedPeers = 6
            $0.addressesPerPeer = 3
        }
        var now = at(0)
        var attempts: [SwarmCore.AttemptID: PeerID] = [:]
        var taken: Set<ConnectionID> = []
        var lastID: UInt64 = 0
        var asked: [PeerID: Int] = [:]
        func react(_ effects: [Effect]) {
            for effect in effects {
                switch effect {
                case .dial(let attempt, let peer, _, _): attempts[attempt] = peer
                case .cancel(let attempt): attempts[attempt] = nil
                case .accepted(_, let info, _): taken.insert(info.id)
                case .removed(_, let id, _): taken.remove(id)
                case .dialEnded(let peer, _): asked[peer] = 0
                case .refuse, .close, .standing: break
                }
            }
            #expect(attempts.count <= 4, "seed \(seed)")
            #expect(taken.count == core.connectionCount, "seed \(seed)")
            let fault = DeadlineCheck.fault(of: core, at: now, wakeUps: 4, deadline: { $0.nextDeadline }) {
                _ = $0.receive(.tick, at: $1)
            }
            #expect(fault == nil, "seed \(seed)")
        }
        for _ in 0..<500 {
            now += random.duration(in: .zero ... .seconds(3))
            let target = try peer(UInt8.random(in: 0...9, using: &random))
            let address = try Multiaddr("/ip4/10.0.0.\(UInt8.random(in: 1...9, using: &random))/tcp/1")
            let dialClass = DialClass.allCases.randomElement(using: &random) ?? .pinned
            switch Int.random(in: 0...9, using: &random) {
            case 0:
                asked[target] = 1
                react(core.receive(.dial(target, addresses: [address], as: dialClass), at: now))
            case 1:
                react(
                    core.receive(
                        .keepConnected(.random(using: &random), target, addresses: [address], as: dialClass),
                        at: now))
            case 9:
                let standing = PeerStanding.allCases.randomElement(using: &random) ?? .admitted
                react(core.receive(.standing(target, standing), at: now))
            case 2, 3:
                guard let (attempt, _) = attempts.randomElement(using: &random) else { continue }
                attempts[attempt] = nil
                react(core.receive(.attemptFailed(attempt, reason: "x"), at: now))
            case 4:
                lastID += 1
                if let (attempt, peer) = attempts.randomElement(using: &random), Bool.random(using: &random) {
                    attempts[attempt] = nil
                    react(core.receive(.opened(peer, try info(lastID), attempt: attempt), at: now))
                } else {
                    react(core.receive(.opened(target, try info(lastID, .inbound), attempt: nil), at: now))
                }
            case 5:
                if let id = taken.randomElement(using: &random) { react(core.receive(.closed(id), at: now)) }
            case 6:
                react(
                    core.receive(
                        .identified(target, addresses: [address], isOurs: .random(using: &random)), at: now))
            case 7: react(core.receive(.disconnect(target, .shutdown), at: now))
            default:
                var steps = 0
                while let deadline = core.nextDeadline, deadline <= now, steps < 100 {
                    steps += 1
                    react(core.receive(.tick, at: now))
                }
                #expect(steps < 100, "seed \(seed): ticks without end")
            }
        }
        react(core.receive(.shutDown, at: now))
        #expect(attempts.isEmpty, "seed \(seed)")
        #expect(asked.values.allSatisfy { $0 == 0 }, "seed \(seed): somebody waits for a dial for ever")
        for id in taken { react(core.receive(.closed(id), at: now)) }
        #expect(core.nextDeadline == nil)
    }
}
