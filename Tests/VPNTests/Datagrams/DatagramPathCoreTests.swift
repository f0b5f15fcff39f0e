import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("The choice between datagrams and the stream")
struct DatagramPathCoreTests {
    private typealias Core = DatagramPathCore

    private static func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: UInt64((1000 + seconds) * 1e9))
    }

    private func established() -> Core {
        var core = Core()
        let wanted = core.receive(.wanted, at: Self.at(0))
        #expect(wanted == [.handshake])
        #expect(core.state == .trying)
        let agreed = core.receive(.agreed(index: 7, isInitiator: true), at: Self.at(0))
        #expect(agreed == [.probe(index: 7)])
        let echoed = core.receive(.echoed(index: 7), at: Self.at(0))
        #expect(echoed == [.use(index: 7)])
        #expect(core.state == .datagrams)
        return core
    }

    @Test("Keys, a probe, its echo, and datagrams are used")
    func comesUp() { _ = established() }

    @Test("Without an echo the stream goes on, and the next try waits longer and longer")
    func udpBlocked() {
        var core = Core()
        var (now, handshakes): (Double, [Double]) = (0, [])
        var effects = core.receive(.wanted, at: Self.at(0))
        while now < 600 {
            for effect in effects {
                switch effect {
                case .handshake:
                    handshakes.append(now)
                    let index = UInt32(handshakes.count)
                    let next = core.receive(.agreed(index: index, isInitiator: true), at: Self.at(now))
                    #expect(next == [.probe(index: index)])
                case .use: Issue.record("nothing to use")
                case .probe, .forget: break
                }
            }
            now += 0.25
            effects = core.receive(.tick(Core.Use(stream: true)), at: Self.at(now))
        }
        let waits = zip(handshakes, handshakes.dropFirst()).map { $1 - $0 }
        #expect(waits.first.map { $0 > 5 && $0 < 9 } == true)
        #expect(waits.last.map { $0 > 115 && $0 < 125 } == true)
    }

    @Test(
        "Silence of the peer while packets are sent: probes, then the stream, in time",
        arguments: [(9, 4.0), (8, 6.0)] as [(UInt64, Double)])
    func breaks(messages: UInt64, most: Double) {
        // Wherever between two looks it falls silent.
        for start in stride(from: 0.0, to: 2.0, by: 0.1) {
            var core = established()
            while let deadline = core.nextDeadline, deadline <= Self.at(start) {
                _ = core.receive(
                    .tick(Core.Use(sent: true, messages: messages, received: true)), at: deadline)
            }
            var end = Instant.zero
            while core.state == .datagrams, let deadline = core.nextDeadline, deadline < Self.at(20) {
                end = deadline
                _ = core.receive(.tick(Core.Use(sent: true, messages: messages)), at: deadline)
            }
            #expect(core.state == .stream)
            #expect((end - Self.at(start)).inSeconds <= most)
        }
    }

    @Test("A path that nobody uses sends nothing, and its keys are forgotten")
    func idle() {
        var core = established()
        var effects: [Core.Effect] = []
        var ticks = 0
        while let deadline = core.nextDeadline, ticks < 100 {
            ticks += 1
            effects += core.receive(.tick(Core.Use()), at: deadline)
        }
        #expect(ticks <= Core.Configuration().idleChecks + 2)
        #expect(effects == [.use(index: nil), .forget(index: 7)])
        #expect(core.state == .stream)
    }

    @Test(
        "However many paths are in use, all are looked at in the same moments, more often when they are busy",
        arguments: [(9, 115...125), (8, 28...34)] as [(UInt64, ClosedRange<Int>)])
    func looksTogether(messages: UInt64, expected: ClosedRange<Int>) {
        var cores = (0..<23).map { index in
            var core = Core()
            let start = Self.at(Double(index) * 0.037)
            _ = core.receive(.wanted, at: start)
            _ = core.receive(.agreed(index: 7, isInitiator: true), at: start)
            _ = core.receive(.echoed(index: 7), at: start)
            return core
        }
        var moments: Set<Instant> = []
        while let deadline = cores.compactMap(\.nextDeadline).min(), deadline < Self.at(60) {
            moments.insert(deadline)
            for index in cores.indices where cores[index].nextDeadline == deadline {
                _ = cores[index].receive(
                    .tick(Core.Use(sent: true, messages: messages, received: true)), at: deadline)
            }
        }
        #expect(expected.contains(moments.count), "\(moments.count) moments in a minute")
    }

    @Test(
        "A path with a packet every 20 seconds is watched all the time, and an unused one soon no more"
    )
    func watchesTrickle() {
        var core = established()
        var sent = Self.at(0)
        while let deadline = core.nextDeadline, deadline < Self.at(60) {
            let isUsed = deadline - sent >= .seconds(20)
            if isUsed { sent = deadline }
            _ = core.receive(.tick(Core.Use(sent: isUsed, received: isUsed)), at: deadline)
            #expect(core.isWatched)
        }
        var last = Instant.zero
        while core.isWatched, let deadline = core.nextDeadline {
            last = deadline
            _ = core.receive(.tick(Core.Use()), at: deadline)
        }
        #expect((10...34).contains((last - Self.at(60)).inSeconds))
        _ = core.receive(.wanted, at: Self.at(90))
        #expect(core.isWatched)
    }

    @Test("Keys are renewed while they are used, without a gap, and the old ones open stragglers for a while")
    func rekeys() {
        var core = established()
        var (now, inUse, known): (Double, UInt32?, Set<UInt32>) = (0, 7, [7])
        var index: UInt32 = 7
        while now < 1000 {
            now += 0.25
            var effects = core.receive(.tick(Core.Use(sent: true, received: true)), at: Self.at(now))
            while !effects.isEmpty {
                switch effects.removeFirst() {
                case .handshake:
                    index += 1
                    known.insert(index)
                    effects += core.receive(.agreed(index: index, isInitiator: true), at: Self.at(now))
                case .probe(let probed): effects += core.receive(.echoed(index: probed), at: Self.at(now))
                case .use(let used): inUse = used
                case .forget(let old): known.remove(old)
                }
            }
            #expect(inUse != nil)
            #expect(inUse.map { known.contains($0) } == true)
            #expect(known.count <= 2)
        }
        #expect(index == 7 + 8)
    }

    @Test("A peer cannot make us keep more than four sessions, and never takes away the one in use")
    func bounded() {
        var core = established()
        var known: Set<UInt32> = [7]
        for index in UInt32(100)..<200 {
            known.insert(index)
            for effect in core.receive(.agreed(index: index, isInitiator: false), at: Self.at(1)) {
                if case .forget(let gone) = effect { known.remove(gone) }
            }
        }
        #expect(known.count == Core.maximumSessions)
        #expect(known.contains(7))
        #expect(core.state == .datagrams)
    }

    @Test("Two cores over a lossy wire end up with datagrams both ways", arguments: 0..<30)
    func lossy(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var cores = [Core(), Core()]
        var indexes: UInt32 = 0
        var queue: [(Double, Int, Core.Input)] = []
        var now = 0.0
        for (side, other) in [(0, 1), (1, 0)] {
            // Both have packets at once, so both agree on keys.
            let wanted = core(&cores[side], .wanted, 0)
            #expect(wanted == [.handshake])
            indexes += 1
            _ = core(&cores[side], .agreed(index: indexes, isInitiator: true), 0)
            queue.append((0.02, other, .agreed(index: indexes, isInitiator: false)))
        }
        while now < 60 {
            for (side, other) in [(0, 1), (1, 0)] {
                var effects = core(&cores[side], .tick(Core.Use(stream: true, sent: true)), now)
                for (time, target, input) in queue where target == side && time <= now {
                    effects += core(&cores[side], input, now)
                }
                queue.removeAll { $0.1 == side && $0.0 <= now }
                while !effects.isEmpty {
                    switch effects.removeFirst() {
                    case .handshake:
                        indexes += 1
                        effects += core(&cores[side], .agreed(index: indexes, isInitiator: true), now)
                        queue.append((now + 0.02, other, .agreed(index: indexes, isInitiator: false)))
                    case .probe(let index):
                        if Double.random(in: 0..<1, using: &generator) > 0.3 {
                            queue.append((now + 0.02, other, .probed(index: index)))
                            if Double.random(in: 0..<1, using: &generator) > 0.3 {
                                queue.append((now + 0.04, side, .echoed(index: index)))
                            }
                        }
                    case .use, .forget: break
                    }
                }
                if cores[side].state == .datagrams {
                    _ = core(&cores[side], .tick(Core.Use(received: true)), now)
                }
            }
            now += 0.05
        }
        #expect(cores.map(\.state) == [.datagrams, .datagrams])
    }

    private func core(_ core: inout Core, _ input: Core.Input, _ now: Double) -> [Core.Effect] {
        core.receive(input, at: Self.at(now))
    }

    @Test("whatever happens, a tick at the deadline gets the path on", arguments: 0..<50 as Range<UInt64>)
    func progress(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var core = Core()
        var now = Self.at(0)
        for _ in 0..<400 {
            now += random.duration(in: .zero ... .seconds(Bool.random(using: &random) ? 1 : 130))
            let index = UInt32.random(in: 1...6, using: &random)
            var use = Core.Use(stream: .random(using: &random))
            use.sent = .random(using: &random)
            use.received = .random(using: &random)
            use.messages = .random(in: 0...20, using: &random)
            let inputs: [Core.Input] = [
                .wanted, .agreed(index: index, isInitiator: .random(using: &random)), .handshakeFailed,
                .echoed(index: index), .probed(index: index), .moved(index: index), .doubted, .tick(use),
            ]
            _ = core.receive(inputs.randomElement(using: &random) ?? .wanted, at: now)
            for stream in [true, false] {
                var used = use
                used.stream = stream
                let fault = DeadlineCheck.fault(of: core, at: now, wakeUps: 4, deadline: { $0.nextDeadline })
                {
                    _ = $0.receive(.tick(used), at: $1)
                }
                #expect(fault == nil)
            }
        }
    }
}
