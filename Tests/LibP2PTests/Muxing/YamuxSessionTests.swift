import LibP2P
import NIOCore
import TestSupport
import Testing
import Timing

@Suite("yamux session")
struct YamuxSessionTests {
    private func at(_ seconds: Double) -> Instant {
        Instant(nanoseconds: 1_000_000_000) + .nanoseconds(Int64(seconds * 1e9))
    }

    private func frame(
        _ type: YamuxHeader.FrameType, _ flags: YamuxHeader.Flags, _ id: UInt32, _ length: UInt32,
        payload: Int = 0
    ) -> ByteBuffer {
        var bytes = ByteBuffer()
        YamuxHeader(type: type, flags: flags, streamID: id, length: length).write(to: &bytes)
        bytes.writeRepeatingByte(1, count: payload)
        return bytes
    }

    private func feed(_ session: inout YamuxSession, _ bytes: ByteBuffer, at now: Instant) -> [YamuxSession
        .Output]
    {
        var bytes = bytes
        session.receive(&bytes, at: now)
        return drain(&session)
    }

    private func drain(_ session: inout YamuxSession) -> [YamuxSession.Output] {
        var outputs: [YamuxSession.Output] = []
        while let output = session.next() { outputs.append(output) }
        return outputs
    }

    @Test("credit returns when half of the window is consumed, and no sooner")
    func creditReturns() {
        var session = YamuxSession(role: .server)
        _ = feed(&session, frame(.data, .syn, 1, 200_000, payload: 200_000), at: at(0))
        session.consumed(131_071, on: 1, at: at(0))
        #expect(drain(&session).isEmpty)
        session.consumed(1, on: 1, at: at(0))
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: [], streamID: 1, length: 131_072))
            ])
    }

    @Test("credit is never given for the part of a frame that has not arrived")
    func creditOfPartialFrames() {
        var session = YamuxSession(role: .server)
        var whole = frame(.data, .syn, 1, 262_144, payload: 262_144)
        let first = whole.readSlice(length: 12 + 140_000) ?? ByteBuffer()
        _ = feed(&session, first, at: at(0))
        session.consumed(140_000, on: 1, at: at(0))
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: [], streamID: 1, length: 140_000))
            ])
    }

    @Test("the window doubles while updates follow within four round trips, up to both bounds")
    func windowGrows() {
        var configuration = YamuxConfiguration()
        let mebibyte: UInt32 = 1024 * 1024
        configuration.maximumWindow = mebibyte
        configuration.windowGrowthBudget = 1024 * 1024
        var session = YamuxSession(role: .server, configuration: configuration)
        session.start(at: at(0))
        _ = drain(&session)
        _ = feed(&session, frame(.ping, .ack, 0, 0), at: at(0.1))
        #expect(session.roundTrip == .milliseconds(100))
        var now = 0.2
        for id: UInt32 in [1, 3] {
            _ = feed(&session, frame(.windowUpdate, .syn, id, 0), at: at(now))
            for _ in 0..<10 {
                now += 0.05
                let window = session.receiveWindow(of: id) ?? 0
                _ = feed(&session, frame(.data, [], id, window / 2, payload: Int(window / 2)), at: at(now))
                session.consumed(Int(window / 2), on: id, at: at(now))
                _ = drain(&session)
            }
        }
        #expect(session.receiveWindow(of: 1) == mebibyte)
        #expect(session.receiveWindow(of: 3) == mebibyte / 2)
        // What a finished stream had is free for the next.
        _ = feed(&session, frame(.windowUpdate, .rst, 1, 0), at: at(now))
        _ = feed(&session, frame(.data, [], 3, 262_144, payload: 262_144), at: at(now))
        session.consumed(262_144, on: 3, at: at(now))
        #expect(session.receiveWindow(of: 3) == mebibyte)
    }

    @Test("a slow reader's window stays as it is")
    func slowReader() {
        var session = YamuxSession(role: .server)
        session.start(at: at(0))
        _ = feed(&session, frame(.ping, .ack, 0, 0), at: at(0.001))
        _ = feed(&session, frame(.data, .syn, 1, 131_072, payload: 131_072), at: at(0.01))
        session.consumed(131_072, on: 1, at: at(1))
        #expect(session.receiveWindow(of: 1) == YamuxConfiguration.initialWindow)
    }

    @Test("unread bytes of all streams together are bounded: the one that passes is reset")
    func unreadBound() {
        var configuration = YamuxConfiguration()
        configuration.maximumUnreadBytes = 300_000
        var session = YamuxSession(role: .server, configuration: configuration)
        _ = feed(&session, frame(.data, .syn, 1, 200_000, payload: 200_000), at: at(0))
        let outputs = feed(&session, frame(.data, .syn, 3, 200_000, payload: 200_000), at: at(0))
        #expect(outputs.contains(.reset(3, .resourceLimit)))
        #expect(session.failure == nil)
        #expect(session.unreadByteCount == 200_000)
    }

    @Test("streams above the limit are reset with the code for it, and the session lives")
    func streamLimit() {
        var configuration = YamuxConfiguration()
        configuration.maximumInboundStreams = 2
        var session = YamuxSession(role: .server, configuration: configuration)
        for id: UInt32 in [1, 3] { _ = feed(&session, frame(.windowUpdate, .syn, id, 0), at: at(0)) }
        #expect(
            feed(&session, frame(.windowUpdate, .syn, 5, 0), at: at(0)) == [
                .write(YamuxHeader(type: .windowUpdate, flags: .rst, streamID: 5, length: 0x1002))
            ])
        #expect(session.failure == nil)
    }

    @Test("only so many streams may wait for the peer's acknowledgement")
    func unacknowledgedLimit() throws {
        var session = YamuxSession(role: .client)
        for _ in 0..<256 { _ = try session.openStream(at: at(0)) }
        do throws(YamuxOpenError) {
            _ = try session.openStream(at: at(0))
            Issue.record("the 257th stream was opened")
        } catch {
            #expect(error == .tooManyUnacknowledged)
        }
        _ = feed(&session, frame(.windowUpdate, .ack, 1, 0), at: at(0))
        #expect(try session.openStream(at: at(0)) == 513)
    }

    @Test("opening and resetting without end spends the glitch budget")
    func rapidReset() {
        var session = YamuxSession(role: .server)
        var outputs: [YamuxSession.Output] = []
        for index in 0..<2000 {
            let id = UInt32(index * 2 + 1)
            outputs += feed(&session, frame(.windowUpdate, .syn, id, 0), at: at(0))
            outputs += feed(&session, frame(.windowUpdate, .rst, id, 0), at: at(0))
        }
        #expect(outputs.last == .closed(.tooManyGlitches))
    }

    @Test("empty data frames spend the glitch budget; opening and closing streams does not")
    func emptyFrames() {
        var session = YamuxSession(role: .server)
        for index in 0..<5000 {
            let id = UInt32(index * 2 + 1)
            _ = feed(&session, frame(.data, .syn, id, 10, payload: 10), at: at(0))
            session.closeStream(id, at: at(0))
            _ = feed(&session, frame(.windowUpdate, .fin, id, 0), at: at(0))
        }
        #expect(session.failure == nil)
        #expect(session.streamCount == 0)
        _ = feed(&session, frame(.windowUpdate, .syn, 20001, 0), at: at(0))
        for _ in 0..<1100 { _ = feed(&session, frame(.data, [], 20001, 0), at: at(0)) }
        #expect(session.failure == .tooManyGlitches)
    }

    @Test("pings above the rate are not answered and at last end the session")
    func pingFlood() {
        var session = YamuxSession(role: .server)
        var pongs = 0
        for _ in 0..<1000 {
            pongs += feed(&session, frame(.ping, .syn, 0, 9), at: at(0)).count
        }
        #expect(pongs == 32)
        for _ in 0..<200 { _ = feed(&session, frame(.ping, .syn, 0, 9), at: at(0)) }
        #expect(session.failure == .tooManyGlitches)
    }

    @Test("a peer that falls silent is noticed within interval and timeout; one that speaks is not lost")
    func keepAlive() {
        var session = YamuxSession(role: .client)
        session.start(at: at(0))
        #expect(drain(&session) == [.write(YamuxHeader(type: .ping, flags: .syn, streamID: 0, length: 0))])
        _ = feed(&session, frame(.ping, .ack, 0, 0), at: at(0.05))
        #expect(session.nextDeadline == at(15))
        session.tick(at: at(15))
        #expect(drain(&session) == [.write(YamuxHeader(type: .ping, flags: .syn, streamID: 0, length: 1))])
        // No answer yet, but other frames arrive: a slow link.
        _ = feed(&session, frame(.windowUpdate, .syn, 2, 0), at: at(24))
        session.tick(at: at(25))
        #expect(session.failure == nil)
        #expect(session.nextDeadline == at(34))
        session.tick(at: at(34))
        #expect(drain(&session).last == .closed(.keepAliveTimeout))
        #expect(session.nextDeadline == nil)
    }

    @Test("two idle ends ping in turn, at least every interval", arguments: [0.0, 0.02, 0.4])
    func alternatingPings(oneWay: Double) {
        var ends = [YamuxSession(role: .client), YamuxSession(role: .server)]
        var wire: [(arrives: Instant, to: Int, header: YamuxHeader)] = []
        var pings: [(at: Instant, by: Int)] = []
        var now = at(0)
        func collect(_ end: Int) {
            for case .write(let header) in drain(&ends[end]) {
                if header.flags.contains(.syn) { pings.append((now, end)) }
                wire.append((now + .nanoseconds(Int64(oneWay * 1e9)), 1 - end, header))
            }
        }
        for end in 0...1 {
            ends[end].start(at: now)
            collect(end)
        }
        while now < at(600) {
            let arrival = wire.map(\.arrives).min() ?? .distantFuture
            let deadline = ends.compactMap(\.nextDeadline).min() ?? .distantFuture
            now = min(arrival, deadline)
            if let index = wire.firstIndex(where: { $0.arrives <= now }) {
                let message = wire.remove(at: index)
                let header = message.header
                var bytes = frame(header.type, header.flags, header.streamID, header.length)
                ends[message.to].receive(&bytes, at: now)
                collect(message.to)
                continue
            }
            for end in 0...1 {
                ends[end].tick(at: now)
                collect(end)
                let fault = DeadlineCheck.fault(of: ends[end], at: now, deadline: { $0.nextDeadline }) {
                    $0.tick(at: $1)
                }
                #expect(fault == nil)
            }
        }
        #expect(ends.allSatisfy { $0.failure == nil })
        // The first two cross; after them no end asks twice running, and none waits longer than before.
        let steady = pings.dropFirst(2)
        #expect((600 / 15...600 / 13 + 1).contains(steady.count), "\(steady.count) pings")
        for (earlier, later) in zip(steady, steady.dropFirst()) {
            #expect(earlier.by != later.by)
            #expect(later.at - earlier.at <= .seconds(15))
        }
    }

    @Test("a peer that pings and never answers is noticed all the same")
    func unansweredPings() throws {
        var session = YamuxSession(role: .client)
        session.start(at: at(0))
        _ = feed(&session, frame(.ping, .ack, 0, 0), at: at(0.05))
        var failedAt: Int?
        for second in 1...200 where failedAt == nil {
            if second % 2 == 0 { _ = feed(&session, frame(.ping, .syn, 0, 0), at: at(Double(second))) }
            session.tick(at: at(Double(second)))
            if session.failure != nil { failedAt = second }
        }
        #expect(session.failure == .keepAliveTimeout)
        // Three intervals without a ping of its own, then six timeouts while the peer goes on speaking.
        #expect(try #require(failedAt) <= 45 + 60 + 2)
    }

    @Test("a stream with much to send takes turns with one that has little")
    func fairness() throws {
        var session = YamuxSession(role: .client)
        let bulk = try session.openStream(at: at(0))
        let control = try session.openStream(at: at(0))
        session.wantsToSend(250_000, on: bulk)
        session.wantsToSend(100, on: control)
        var order: [UInt32] = []
        while let grant = session.nextGrant() {
            order.append(grant.streamID)
            session.sent(min(grant.maximumBytes, 16_384), under: grant)
        }
        let position = try #require(order.firstIndex(of: control))
        #expect(position == 4)
        #expect(order.count == 17)
    }

    @Test("FIN follows what is pending, and both FINs end the stream")
    func halfClose() throws {
        var session = YamuxSession(role: .client)
        let id = try session.openStream(at: at(0))
        session.wantsToSend(10, on: id)
        session.closeOutput(id)
        _ = drain(&session)
        let next = session.nextGrant()
        let grant = try #require(next)
        session.sent(10, under: grant)
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: .fin, streamID: id, length: 0))
            ])
        let data = feed(&session, frame(.data, .ack, id, 3, payload: 3), at: at(0))
        #expect(data == [.data(id, ByteBuffer(repeating: 1, count: 3))])
        #expect(feed(&session, frame(.windowUpdate, .fin, id, 0), at: at(0)) == [.inputClosed(id)])
        #expect(session.streamCount == 0)
    }

    @Test(
        "an application that closes sends what it wrote, then FIN; late answers are swallowed, bulk is reset")
    func abandoned() throws {
        var session = YamuxSession(role: .client)
        let id = try session.openStream(at: at(0))
        session.wantsToSend(10, on: id)
        session.closeStream(id, at: at(0))
        _ = drain(&session)
        let next = session.nextGrant()
        let grant = try #require(next)
        session.sent(10, under: grant)
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: .fin, streamID: id, length: 0)), .finished(id),
            ])
        #expect(feed(&session, frame(.data, .ack, id, 40, payload: 40), at: at(0)).isEmpty)
        let outputs = feed(&session, frame(.data, [], id, 100_000, payload: 100_000), at: at(0))
        #expect(outputs == [.write(YamuxHeader(type: .windowUpdate, flags: .rst, streamID: id, length: 0))])
        #expect(session.streamCount == 0)
    }

    @Test("a closed stream whose peer gives no credit is reset in the end")
    func linger() throws {
        var session = YamuxSession(role: .client)
        let id = try session.openStream(at: at(0))
        session.wantsToSend(300_000, on: id)
        while let grant = session.nextGrant() { session.sent(grant.maximumBytes, under: grant) }
        session.closeStream(id, at: at(0))
        _ = drain(&session)
        #expect(session.nextDeadline == at(10))
        session.tick(at: at(10))
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: .rst, streamID: id, length: 0)),
                .reset(id, .unspecified),
            ])
    }

    @Test("a reset carries its code both ways")
    func resets() throws {
        var session = YamuxSession(role: .client)
        let first = try session.openStream(at: at(0))
        let second = try session.openStream(at: at(0))
        _ = drain(&session)
        session.reset(first, .rateLimited)
        #expect(
            drain(&session) == [
                .write(YamuxHeader(type: .windowUpdate, flags: .rst, streamID: first, length: 0x1003))
            ])
        #expect(
            feed(&session, frame(.windowUpdate, .rst, second, 0x1008), at: at(0)) == [.reset(second, .gated)])
    }

    @Test("credit beyond 32 bits is clamped")
    func creditOverflow() throws {
        var session = YamuxSession(role: .client)
        let id = try session.openStream(at: at(0))
        for _ in 0..<3 { _ = feed(&session, frame(.windowUpdate, [], id, .max), at: at(0)) }
        session.wantsToSend(1, on: id)
        #expect(session.nextGrant()?.maximumBytes == 1)
        #expect(session.failure == nil)
    }

    @Test("random bytes and random frames never trap and keep every count in bounds", arguments: 0..<40)
    func fuzz(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var session = YamuxSession(role: seed.isMultiple(of: 2) ? .client : .server)
        var now = at(0)
        session.start(at: now)
        var open: [UInt32] = []
        for _ in 0..<400 where session.failure == nil {
            now += .microseconds(Int64.random(in: 0...2_000_000, using: &random))
            var bytes = ByteBuffer()
            if seed % 4 == 3 {
                let noise = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                bytes.writeBytes([0] + noise)
            } else {
                let types: [YamuxHeader.FrameType] = [.data, .data, .windowUpdate, .windowUpdate, .ping]
                let lengths: [UInt32] = [0, 1, 100, 65524, 262_144, .max]
                let length = lengths.randomElement(using: &random) ?? 0
                YamuxHeader(
                    type: types.randomElement(using: &random) ?? .data,
                    flags: YamuxHeader.Flags(rawValue: UInt16.random(in: 0...16, using: &random)),
                    streamID: UInt32.random(in: 0...20, using: &random), length: length
                ).write(to: &bytes)
                bytes.writeRepeatingByte(
                    3, count: Int.random(in: 0...min(Int(length), 70000), using: &random))
            }
            session.receive(&bytes, at: now)
            while let output = session.next() {
                switch output {
                case .data(let id, let data):
                    if Bool.random(using: &random) { session.consumed(data.readableBytes, on: id, at: now) }
                case .opened(let id): open.append(id)
                default: break
                }
            }
            if let id = try? session.openStream(at: now) { open.append(id) }
            guard let id = open.randomElement(using: &random) else { continue }
            switch Int.random(in: 0...6, using: &random) {
            case 0: session.wantsToSend(Int.random(in: 0...100_000, using: &random), on: id)
            case 1: session.closeStream(id, at: now)
            case 2: session.closeOutput(id)
            case 3: session.reset(id, .unspecified)
            case 4: session.consumed(Int.random(in: 0...1_000_000, using: &random), on: id, at: now)
            case 5: session.tick(at: now)
            default:
                if let grant = session.nextGrant() {
                    session.sent(
                        Int.random(in: 0...grant.maximumBytes, using: &random), under: grant)
                }
            }
            #expect(session.streamCount <= 2048, "seed \(seed)")
            #expect(session.unreadByteCount >= 0, "seed \(seed)")
        }
    }
}
