import NIOCore
import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("A link to a peer")
struct PeerLinkCoreTests {
    private let second = Instant(nanoseconds: 1_000_000_000)

    private func expect(
        _ core: inout PeerLinkCore, _ input: PeerLinkCore.Input, at now: Instant,
        gives expected: [PeerLinkCore.Effect], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let effects = core.receive(input, at: now)
        #expect(effects == expected, sourceLocation: sourceLocation)
    }

    @Test("The first packets open a stream, and are moved once it is open")
    func opens() {
        var core = PeerLinkCore()
        #expect(core.state == .idle)
        expect(&core, .packetsQueued, at: .zero, gives: [.open])
        expect(&core, .packetsQueued, at: .zero, gives: [])
        #expect(core.state == .opening)
        expect(&core, .opened(.kairos), at: .zero, gives: [.drain])
        #expect(core.state == .open(.kairos))
        expect(&core, .packetsQueued, at: .zero, gives: [.drain])
    }

    @Test("A lost stream is opened again by the next packets")
    func reopens() {
        var core = PeerLinkCore()
        _ = core.receive(.packetsQueued, at: .zero)
        _ = core.receive(.opened(.kairos), at: .zero)
        expect(&core, .closed, at: second, gives: [])
        #expect(core.state == .idle)
        expect(&core, .packetsQueued, at: second, gives: [.open])
    }

    @Test("A peer that closes each stream as soon as it is open is asked less and less often")
    func refuses() {
        var core = PeerLinkCore()
        var now = Instant.zero
        var waits: [Duration] = []
        _ = core.receive(.packetsQueued, at: now)
        for _ in 0..<4 {
            _ = core.receive(.opened(.kairos), at: now)
            expect(&core, .closed, at: now, gives: [])
            _ = core.receive(.packetsQueued, at: now)
            guard let deadline = core.nextDeadline else {
                Issue.record("no deadline while backing off")
                return
            }
            waits.append(deadline - now)
            now = deadline
            expect(&core, .tick(queueIsEmpty: false), at: now, gives: [.open])
        }
        #expect(waits == [100, 200, 400, 800].map { Duration.milliseconds($0) })
    }

    @Test("Failed attempts back off up to a bound, dial, and start over after a success")
    func backsOff() {
        var core = PeerLinkCore()
        var now = Instant.zero
        var waits: [Duration] = []
        _ = core.receive(.packetsQueued, at: now)
        for _ in 0..<9 {
            expect(&core, .openFailed, at: now, gives: [.dial])
            expect(&core, .packetsQueued, at: now, gives: [])
            guard let deadline = core.nextDeadline else {
                Issue.record("no deadline while backing off")
                return
            }
            waits.append(deadline - now)
            expect(&core, .tick(queueIsEmpty: false), at: now, gives: [])
            now = deadline
            expect(&core, .tick(queueIsEmpty: false), at: now, gives: [.open])
        }
        #expect(
            waits == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000].map { Duration.milliseconds($0) })
        _ = core.receive(.opened(.kairos), at: now)
        now += .seconds(1)
        _ = core.receive(.closed, at: now)
        _ = core.receive(.packetsQueued, at: now)
        _ = core.receive(.openFailed, at: now)
        #expect(core.nextDeadline == now + .milliseconds(100))
    }

    @Test("After a back-off without packets the link rests")
    func rests() {
        var core = PeerLinkCore()
        _ = core.receive(.packetsQueued, at: .zero)
        _ = core.receive(.openFailed, at: .zero)
        expect(&core, .tick(queueIsEmpty: true), at: second, gives: [])
        #expect(core.state == .idle)
        #expect(core.nextDeadline == nil)
    }

    @Test("A connection that comes up ends the back-off")
    func connected() {
        var core = PeerLinkCore()
        _ = core.receive(.packetsQueued, at: .zero)
        _ = core.receive(.openFailed, at: .zero)
        expect(&core, .peerConnected, at: .zero, gives: [.open])
    }

    @Test("A stream without packets is closed after a long while, not before")
    func idle() {
        var core = PeerLinkCore()
        _ = core.receive(.packetsQueued, at: .zero)
        _ = core.receive(.opened(.kairos), at: .zero)
        _ = core.receive(.packetsQueued, at: second)
        #expect(core.nextDeadline == second + .seconds(60))
        expect(&core, .tick(queueIsEmpty: true), at: .zero + .seconds(60), gives: [])
        expect(&core, .tick(queueIsEmpty: true), at: second + .seconds(60), gives: [.close])
        #expect(core.state == .idle)
    }

    @Test("A stream that opens when nobody wants it any more is closed")
    func unwanted() {
        var core = PeerLinkCore()
        expect(&core, .opened(.kairos), at: .zero, gives: [.close])
    }
}

@Suite("The queue to a peer")
struct PacketQueueTests {
    private func batch(_ bytes: Int, packets: Int = 1) -> PacketBatch {
        PacketBatch(frames: ByteBuffer(repeating: 0, count: bytes), packets: packets)
    }

    @Test("It takes no more bytes than its bound and refuses what comes last")
    func bytes() {
        var queue = PacketQueue(maximumBytes: 100)
        let taken = [60, 41, 40].map { queue.push(batch($0), at: .zero) }
        #expect(taken == [true, false, true])
        #expect(queue.bytes == 100)
        let oldest = queue.pop()
        #expect(oldest?.frames.readableBytes == 60)
        #expect(queue.bytes == 40)
    }

    @Test("What has waited too long is dropped, the oldest first, and counted by packets")
    func age() {
        var queue = PacketQueue(maximumBytes: 1000)
        _ = queue.push(batch(10, packets: 3), at: .zero)
        _ = queue.push(batch(20, packets: 5), at: .zero + .milliseconds(400))
        let dropped = [500, 600].map {
            queue.expire(olderThan: .milliseconds(500), at: .zero + .milliseconds($0))
        }
        #expect(dropped == [0, 3])
        #expect(queue.bytes == 20)
        let rest = queue.removeAll()
        #expect(rest == 5)
        #expect(queue.isEmpty && queue.bytes == 0)
    }

    @Test("whatever happens, a tick at the deadline gets the link on", arguments: 0..<50 as Range<UInt64>)
    func progress(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var core = PeerLinkCore()
        var now = Instant.zero
        let inputs: [PeerLinkCore.Input] = [
            .packetsQueued, .opened(.kairos), .openFailed, .closed, .peerConnected,
            .tick(queueIsEmpty: true), .tick(queueIsEmpty: false),
        ]
        for _ in 0..<400 {
            now += random.duration(in: .zero ... .seconds(Bool.random(using: &random) ? 1 : 70))
            _ = core.receive(inputs.randomElement(using: &random) ?? .closed, at: now)
            for isEmpty in [true, false] {
                let fault = DeadlineCheck.fault(of: core, at: now, deadline: { $0.nextDeadline }) {
                    _ = $0.receive(.tick(queueIsEmpty: isEmpty), at: $1)
                }
                #expect(fault == nil)
            }
        }
    }
}
