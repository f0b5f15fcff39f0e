import LibP2P
import Multiformats
import Testing
import Timing

/// What the swarm lets those do that have proven nothing, with sybils, on virtual time.
@Suite("standing in the swarm")
struct SwarmStandingTests {
    private typealias Effect = SwarmCore.Effect

    private func peer(_ number: Int) throws -> PeerID {
        try PeerID(bytes: [0, 3, UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)])
    }

    private func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: 1_000_000_000) + .nanoseconds(Int64(seconds * 1e9))
    }

    private func info(
        _ id: UInt64, _ direction: ConnectionDirection = .inbound, from address: String = "10.0.0.9"
    ) throws -> ConnectionInfo {
        ConnectionInfo(
            id: ConnectionID(rawValue: id), direction: direction,
            remoteAddress: try Multiaddr("/ip4/\(address)/tcp/9"),
            localAddress: try Multiaddr("/ip4/10.0.0.1/tcp/1"), channelBinding: [])
    }

    private func core(_ configure: (inout SwarmLimits) -> Void = { _ in }) throws -> SwarmCore {
        var limits = SwarmLimits()
        configure(&limits)
        return SwarmCore(localPeer: try peer(0), limits: limits, seed: 1)
    }

    private func closed(_ effects: [Effect]) -> [UInt64] {
        effects.compactMap { if case .close(let id, _) = $0 { id.rawValue } else { nil } }
    }

    private func dials(_ effects: [Effect]) -> [(attempt: SwarmCore.AttemptID, peer: PeerID)] {
        effects.compactMap {
            if case .dial(let attempt, let peer, _, _) = $0 { (attempt, peer) } else { nil }
        }
    }

    @Test("sybils hold 128 connections at most, and no member that comes is refused")
    func flood() throws {
        var core = try core()
        var open: Set<UInt64> = []
        var id: UInt64 = 0
        for number in 1...2000 {
            id += 1
            let effects = core.receive(
                .opened(
                    try peer(1000 + number), try info(id, from: "10.9.\(number / 200).\(number % 200)"),
                    attempt: nil),
                at: at(Double(number) / 100))
            open.insert(id)
            for gone in closed(effects) {
                open.remove(gone)
                _ = core.receive(.closed(ConnectionID(rawValue: gone)), at: at(Double(number) / 100))
            }
            #expect(core.unprovenCount <= 128 && core.connectionCount == open.count)
        }
        #expect(open.count == 128)
        for number in 1...200 {
            id += 1
            let effects = core.receive(
                .opened(try peer(number), try info(id, from: "10.1.0.\(number)"), attempt: nil), at: at(21))
            #expect(
                effects.contains(
                    .accepted(try peer(number), try info(id, from: "10.1.0.\(number)"), isFirst: true)))
            for gone in closed(effects) {
                _ = core.receive(.closed(ConnectionID(rawValue: gone)), at: at(21))
            }
            #expect(
                core.receive(.standing(try peer(number), .admitted), at: at(21)) == [
                    .standing(try peer(number), .admitted)
                ])
        }
        #expect((1...200).allSatisfy { number in (try? core.standing(of: peer(number))) == .admitted })
        #expect(core.unprovenCount < 128)
    }

    @Test("one address holds 16 connections, and takes no place of another")
    func perAddress() throws {
        var core = try core()
        _ = core.receive(.opened(try peer(1), try info(1, from: "10.0.0.1"), attempt: nil), at: at(0))
        for number in 2...300 {
            let effects = core.receive(
                .opened(try peer(number), try info(UInt64(number)), attempt: nil), at: at(1))
            let gone = closed(effects)
            #expect(gone.count == (number > 17 ? 1 : 0) && !gone.contains(1))
            for id in gone { _ = core.receive(.closed(ConnectionID(rawValue: id)), at: at(1)) }
        }
        #expect(core.connectionCount == 17)
    }

    @Test("an unproven peer has one connection of its making: a newer one takes the place of the older")
    func oneConnection() throws {
        var core = try core()
        let visitor = try peer(7)
        for id: UInt64 in 1...5 {
            let effects = core.receive(.opened(visitor, try info(id), attempt: nil), at: at(Double(id)))
            #expect(closed(effects) == (id > 1 ? [id - 1] : []))
            for gone in closed(effects) {
                _ = core.receive(.closed(ConnectionID(rawValue: gone)), at: at(Double(id)))
            }
            #expect(core.connectionCount == 1 && core.unprovenCount == 1)
        }
        // Proven, it may have as many as everybody.
        _ = core.receive(.standing(visitor, .member), at: at(6))
        #expect(closed(core.receive(.opened(visitor, try info(6), attempt: nil), at: at(6))).isEmpty)
        #expect(core.connections(to: visitor).count == 2 && core.unprovenCount == 0)
    }

    @Test("what an unproven peer tells of its addresses is not dialled, and nothing of it is remembered")
    func nothingRemembered() throws {
        var core = try core()
        let addresses = try (1...32).map { try Multiaddr("/ip4/192.168.77.200/tcp/\($0)") }
        for number in 1...400 {
            let visitor = try peer(number)
            _ = core.receive(.opened(visitor, try info(UInt64(number)), attempt: nil), at: at(Double(number)))
            _ = core.receive(
                .identified(visitor, addresses: addresses, isOurs: false), at: at(Double(number)))
            #expect(core.addresses(of: visitor).isEmpty)
            _ = core.receive(.closed(ConnectionID(rawValue: UInt64(number))), at: at(Double(number)))
            #expect(core.nextDeadline == nil)
        }
        #expect(core.connectionCount == 0 && core.unprovenCount == 0)
        // Of one that proves itself they are.
        let member = try peer(500)
        _ = core.receive(.opened(member, try info(1000), attempt: nil), at: at(500))
        _ = core.receive(.standing(member, .admitted), at: at(500))
        _ = core.receive(.identified(member, addresses: addresses, isOurs: true), at: at(500))
        #expect(core.addresses(of: member).count == 32)
        // It holds until the last connection is gone.
        _ = core.receive(.closed(ConnectionID(rawValue: 1000)), at: at(501))
        #expect(core.standing(of: member) == .unproven)
        _ = core.receive(.opened(member, try info(1001), attempt: nil), at: at(502))
        #expect(core.standing(of: member) == .unproven && core.unprovenCount == 1)
    }

    @Test("members that are not admitted have a number of connections of their own")
    func memberConnections() throws {
        var core = try core {
            $0.memberConnections = 3
            $0.connections = 5
        }
        for number in 1...10 {
            _ = core.receive(
                .opened(try peer(number), try info(UInt64(number), from: "10.0.0.\(number)"), attempt: nil),
                at: at(0))
            _ = core.receive(.standing(try peer(number), .member), at: at(0))
        }
        #expect((1...10).count { number in (try? core.standing(of: peer(number))) == .member } == 3)
        #expect(core.unprovenCount == 7)
        _ = core.receive(.standing(try peer(9), .admitted), at: at(0))
        _ = core.receive(.standing(try peer(10), .admitted), at: at(0))
        #expect(core.standing(of: try peer(10)) == .admitted && core.unprovenCount == 5)
    }

    @Test("dead addresses of the unproven and of records do not delay a dial of a proven or pinned peer")
    func dialSlots() throws {
        var core = try core()
        let dead = try (1...32).map { try Multiaddr("/ip4/192.168.77.200/tcp/\($0)") }
        // A member that was here.
        let member = try peer(1)
        _ = core.receive(.opened(member, try info(1), attempt: nil), at: at(0))
        _ = core.receive(.standing(member, .admitted), at: at(0))
        let home = try Multiaddr("/ip4/10.0.0.9/tcp/1")
        _ = core.receive(.identified(member, addresses: [home], isOurs: true), at: at(0))
        _ = core.receive(.keepConnected(true, member, addresses: []), at: at(0))
        var under: [DialClass: Int] = [:]
        func count(_ effects: [Effect], _ dialClass: DialClass) {
            under[dialClass, default: 0] += dials(effects).count
        }
        for number in 100..<500 {
            count(
                core.receive(
                    .keepConnected(true, try peer(number), addresses: dead, as: .unproven), at: at(1)),
                .unproven)
        }
        for number in 500..<900 {
            count(
                core.receive(
                    .keepConnected(true, try peer(number), addresses: dead, as: .recorded), at: at(1)),
                .recorded)
        }
        #expect(under == [.unproven: 8, .recorded: 8])
        // The cable is out, and in again.
        _ = core.receive(.closed(ConnectionID(rawValue: 1)), at: at(20))
        var redialled: Instant?
        while redialled == nil, let deadline = core.nextDeadline, deadline < at(22) {
            if dials(core.receive(.tick, at: deadline)).contains(where: { $0.peer == member }) {
                redialled = deadline
            }
        }
        #expect(try #require(redialled) - at(20) < .milliseconds(200))
        #expect(
            dials(core.receive(.dial(try peer(2000), addresses: [home], as: .pinned), at: at(22))).count == 1)
    }

    @Test("one peer does not take all slots, and its other addresses follow as attempts end")
    func oneManyAddresses() throws {
        var core = try core()
        let dead = try (1...32).map { try Multiaddr("/ip4/192.168.77.200/tcp/\($0)") }
        var open = dials(
            core.receive(.keepConnected(true, try peer(1), addresses: dead, as: .pinned), at: at(0)))
        var total = open.count
        var now = at(0)
        while let deadline = core.nextDeadline, deadline < at(5), open.count < 8 {
            now = deadline
            let more = dials(core.receive(.tick, at: now))
            total += more.count
            open += more
        }
        #expect(open.count == 8)
        while let attempt = open.popLast() {
            now += .milliseconds(40)
            let more = dials(core.receive(.attemptFailed(attempt.attempt, reason: "no"), at: now))
            total += more.count
            open += more
            #expect(open.count <= 8)
            if open.count < 8 {
                let more = dials(core.receive(.tick, at: now)); total += more.count; open += more
            }
        }
        #expect(total == 32)
    }

    @Test("an operator's peer keeps its connection however many sybils there are")
    func pinned() throws {
        var core = try core()
        let address = try Multiaddr("/ip4/10.0.0.9/tcp/1")
        let first = dials(
            core.receive(.keepConnected(true, try peer(1), addresses: [address], as: .pinned), at: at(0)))
        _ = core.receive(.opened(try peer(1), try info(1, .outbound), attempt: first[0].attempt), at: at(0))
        for number in 2...1000 {
            let effects = core.receive(
                .opened(try peer(number), try info(UInt64(number)), attempt: nil), at: at(30))
            #expect(!closed(effects).contains(1))
            for id in closed(effects) { _ = core.receive(.closed(ConnectionID(rawValue: id)), at: at(30)) }
        }
        #expect(core.connections(to: try peer(1)).count == 1)
    }
}
