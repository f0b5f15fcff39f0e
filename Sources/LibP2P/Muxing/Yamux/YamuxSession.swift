internal import DequeModule
package import NIOCore
package import Timing

/// One end of a yamux connection (contract/wire.md D.4): bytes and the application's wishes in,
/// outputs out; no socket, no clock.
///
/// A stream's states, seen from this end:
///
///     (we SYN) synSent ──ACK──► open ──FIN out──► writeClosed ──FIN in──► gone
///     (peer SYN, we ACK) ─────► open ──FIN in───► readClosed ──FIN out──► gone
///     any ──RST either way──► gone
///     open ──application closes──► FIN out, then draining until FIN in ──► gone
///
/// Differences from the yamux specification, all those of go-yamux: RST and GoAway carry libp2p's
/// error codes; frames for unknown streams are dropped without an answer; any GoAway ends the
/// session at once. Our own: a stream whose application closed it, and to which the peer goes on
/// sending more than an answer's worth of bytes, is reset, so that the sender does not wait for
/// credit for ever.
///
/// Outputs queue inside and are taken with `next()`: the queue's storage is reused, so that no
/// frame costs an allocation. Data to send stays with the driver; the session knows only how many
/// bytes each stream has and says with `nextGrant()` whose turn it is.
package struct YamuxSession: Sendable {
    /// Which end opened the connection; it decides the parity of the stream IDs.
    package enum Role: Hashable, Sendable {
        case client
        case server
    }

    /// What the driver has to do.
    package enum Output: Hashable, Sendable {
        /// Send this frame, which has no payload.
        case write(YamuxHeader)
        /// The peer opened a stream; its ACK is queued already.
        case opened(UInt32)
        /// The stream received bytes: report them with `consumed` once the application has them.
        case data(UInt32, ByteBuffer)
        /// The peer will send no more on the stream.
        case inputClosed(UInt32)
        /// Everything written before the application's close is sent, its FIN too.
        case finished(UInt32)
        /// The stream is gone, by the peer's reset or one of our limits.
        case reset(UInt32, StreamReset)
        /// A ping was answered after this time.
        case roundTrip(Duration)
        /// The session is over: send what is queued and close the connection.
        case closed(YamuxError)
    }

    /// Permission to send one data frame.
    package struct Grant: Hashable, Sendable {
        package let streamID: UInt32
        /// The most payload bytes.
        package let maximumBytes: Int
    }

    private struct Stream {
        var isInbound: Bool
        var isAcknowledged: Bool
        var sendWindow = YamuxConfiguration.initialWindow
        /// Credit that the peer still has.
        var receiveWindow = YamuxConfiguration.initialWindow
        /// Credit that the peer has when nothing is in flight or unread.
        var windowTarget = YamuxConfiguration.initialWindow
        /// Bytes announced by data frames that the application has not taken.
        var unread = 0
        /// Bytes flushed by the application and not yet granted.
        var pending = 0
        /// Bytes sent since this stream's turn began.
        var sentInTurn = 0
        var isQueued = false
        var finWanted = false
        var finSent = false
        var finReceived = false
        /// The application is done with both directions.
        var isAbandoned = false
        var abandonedBytes = 0
        var lastUpdate: Instant
    }

    private enum Payload {
        case none
        case deliver(UInt32, remaining: Int, fin: Bool)
        case discard(remaining: Int)
    }

    private let role: Role
    private let configuration: YamuxConfiguration
    /// The most streams that the other end may have open at once, as its standing has it.
    private var maximumInboundStreams: Int
    private var mayGrowWindows = true
    private var streams: [UInt32: Stream] = [:]
    private var outputs = Deque<Output>()
    private var ready = Deque<UInt32>()
    private var lingering = Deque<(streamID: UInt32, deadline: Instant)>()
    private var draining = Deque<UInt32>()
    private var header = ByteBuffer()
    private var payload = Payload.none
    private var nextStreamID: UInt32?
    private var highestRemoteID: UInt32 = 0
    private var inboundStreams = 0
    private var outboundStreams = 0
    private var unacknowledged = 0
    private var unreadBytes = 0
    private var windowGrowth = 0
    private var glitches: GlitchBudget
    private var pings: GlitchBudget
    private var pingValue: UInt32 = 0
    private var pingSent: Instant?
    private var nextPing = Instant.distantFuture
    private var lastPing = Instant.zero
    private var lastReceived = Instant.zero

    /// The last measured round trip, nil before the first ping is answered.
    package private(set) var roundTrip: Duration?
    /// Why the session is over; nil while it lives.
    package private(set) var failure: YamuxError?

    /// Makes the session of the end that is `role`.
    package init(role: Role, configuration: YamuxConfiguration = YamuxConfiguration()) {
        self.role = role
        self.configuration = configuration
        self.maximumInboundStreams = configuration.maximumInboundStreams
        self.nextStreamID = role == .client ? 1 : 2
        self.glitches = GlitchBudget(
            capacity: configuration.glitchCapacity, perSecond: configuration.glitchesPerSecond)
        self.pings = GlitchBudget(
            capacity: configuration.pingCapacity, perSecond: configuration.pingsPerSecond)
    }

    /// How many streams are open, both ways.
    package var streamCount: Int { inboundStreams + outboundStreams }

    /// Bytes received that no stream has read yet.
    package var unreadByteCount: Int { unreadBytes }

    /// Lets the other end hold what its `standing` allows; streams that are open stay.
    package mutating func setStanding(_ standing: PeerStanding) {
        maximumInboundStreams = min(
            configuration.maximumInboundStreams, StandingLimits.of(standing).inboundStreams)
        mayGrowWindows = standing > .unproven
    }

    /// The receive window that `streamID` has grown to; nil when it is unknown.
    package func receiveWindow(of streamID: UInt32) -> UInt32? {
        streams[streamID]?.windowTarget
    }

    /// When `tick` wants to be called.
    package var nextDeadline: Instant? {
        guard failure == nil else { return nil }
        var deadline = nextPing
        if let pingSent {
            // Measured from the last sign of life: a ping may wait long behind bulk on a slow link.
            deadline = min(
                max(pingSent, lastReceived) + configuration.keepAliveTimeout,
                pingSent + configuration.keepAliveTimeout * 6)
        }
        if let first = lingering.first { deadline = min(deadline, first.deadline) }
        return deadline
    }

    /// The next thing to do; nil when there is nothing.
    package mutating func next() -> Output? {
        outputs.popFirst()
    }

    // MARK: - Time

    /// Sends the first ping; call it once, when the connection is up.
    package mutating func start(at now: Instant) {
        lastReceived = now
        sendPing(at: now)
    }

    /// Does what is due at `now`.
    package mutating func tick(at now: Instant) {
        guard failure == nil else { return }
        while let first = lingering.first, first.deadline <= now {
            lingering.removeFirst()
            if streams[first.streamID] != nil {
                reset(first.streamID, .unspecified)
                outputs.append(.reset(first.streamID, .unspecified))
            }
        }
        if let pingSent {
            if let nextDeadline, nextDeadline <= now, pingSent + configuration.keepAliveTimeout <= now {
                fail(.keepAliveTimeout)
            }
        } else if nextPing <= now {
            sendPing(at: now)
        }
    }

    private mutating func sendPing(at now: Instant) {
        outputs.append(.write(YamuxHeader(type: .ping, flags: .syn, streamID: 0, length: pingValue)))
        pingSent = now
        lastPing = now
        nextPing = now + configuration.keepAliveInterval
    }

    /// The peer's ping says that it lives, so this end need not ask for a while: two ends that both do
    /// so ask in turn, for half the packets. It is this end's turn a little earlier than the peer asks
    /// again, and the two ends wait differently long, so that they do not ask at once for ever. A peer
    /// that asks and never answers does not put its own proof off for good.
    private mutating func heardPing(at now: Instant) {
        let interval = configuration.keepAliveInterval
        let turn = now + interval - interval * (role == .client ? 2 : 1) / 15
        nextPing = min(turn, lastPing + interval * 3)
    }

    // MARK: - From the peer

    /// Takes in all of `bytes`, however frames are cut across calls.
    package mutating func receive(_ bytes: inout ByteBuffer, at now: Instant) {
        if bytes.readableBytes > 0 { lastReceived = now }
        while failure == nil, bytes.readableBytes > 0 {
            switch payload {
            case .none:
                do throws(YamuxError) {
                    guard let frame = try readHeader(&bytes) else { return }
                    receive(frame, at: now)
                } catch {
                    fail(error)
                }
            case .deliver(let streamID, let remaining, let fin):
                let count = min(remaining, bytes.readableBytes)
                guard let slice = bytes.readSlice(length: count) else { return }
                payload =
                    count == remaining ? .none : .deliver(streamID, remaining: remaining - count, fin: fin)
                deliver(slice, to: streamID)
                if fin, count == remaining { receiveFIN(streamID) }
            case .discard(let remaining):
                let count = min(remaining, bytes.readableBytes)
                bytes.moveReaderIndex(forwardBy: count)
                payload = count == remaining ? .none : .discard(remaining: remaining - count)
            }
        }
    }

    private mutating func readHeader(_ bytes: inout ByteBuffer) throws(YamuxError) -> YamuxHeader? {
        if header.readableBytes == 0, bytes.readableBytes >= YamuxHeader.byteCount {
            return try YamuxHeader(reading: &bytes)
        }
        let count = min(YamuxHeader.byteCount - header.readableBytes, bytes.readableBytes)
        header.writeImmutableBuffer(bytes.getSlice(at: bytes.readerIndex, length: count) ?? ByteBuffer())
        bytes.moveReaderIndex(forwardBy: count)
        defer { if header.readableBytes == 0 { header.clear() } }
        return try YamuxHeader(reading: &header)
    }

    private mutating func receive(_ frame: YamuxHeader, at now: Instant) {
        switch frame.type {
        case .ping: receivePing(frame, at: now)
        case .goAway: fail(.remoteGoAway(frame.length))
        case .data, .windowUpdate: receiveStreamFrame(frame, at: now)
        }
    }

    private mutating func receivePing(_ frame: YamuxHeader, at now: Instant) {
        if frame.flags.contains(.syn) {
            guard pings.spend(at: now) else { return glitch(at: now) }
            outputs.append(.write(YamuxHeader(type: .ping, flags: .ack, streamID: 0, length: frame.length)))
            heardPing(at: now)
        } else if let pingSent, frame.length == pingValue {
            let elapsed = now - pingSent
            self.pingSent = nil
            pingValue &+= 1
            roundTrip = elapsed
            outputs.append(.roundTrip(elapsed))
        } else {
            glitch(at: now)
        }
    }

    private mutating func receiveStreamFrame(_ frame: YamuxHeader, at now: Instant) {
        let streamID = frame.streamID
        if frame.flags.contains(.syn) {
            guard accept(frame, at: now) else { return }
        }
        // The length of a data frame is taken as unsigned 32 bits, which an Int always holds.
        let length = frame.type == .data ? Int(frame.length) : 0
        guard var stream = streams[streamID] else {
            if length > 0 { payload = .discard(remaining: length) }
            if length == 0 || !isPast(streamID) { glitchUnlessReset(frame, at: now) }
            return
        }
        if frame.flags.contains(.ack), !stream.isAcknowledged {
            stream.isAcknowledged = true
            unacknowledged -= 1
            streams[streamID] = stream
        }
        if frame.flags.contains(.rst) {
            if length > 0 { payload = .discard(remaining: length) }
            // Opening and resetting streams without end is work for nothing.
            if stream.isInbound { glitch(at: now) }
            guard failure == nil else { return }
            let wasAbandoned = stream.isAbandoned && stream.finSent
            remove(streamID)
            let code = frame.type == .windowUpdate ? frame.length : 0
            if !wasAbandoned { outputs.append(.reset(streamID, StreamReset(code: code))) }
            return
        }
        if frame.type == .windowUpdate {
            if frame.flags.isEmpty, frame.length == 0 { return glitch(at: now) }
            let (window, overflow) = stream.sendWindow.addingReportingOverflow(frame.length)
            stream.sendWindow = overflow ? .max : window
            streams[streamID] = stream
            enqueue(streamID)
            if frame.flags.contains(.fin) { receiveFIN(streamID) }
            return
        }
        receiveData(frame, length: length, stream: stream, at: now)
    }

    private mutating func receiveData(_ frame: YamuxHeader, length: Int, stream: Stream, at now: Instant) {
        let streamID = frame.streamID
        let fin = frame.flags.contains(.fin)
        guard length > 0 else {
            if frame.flags.isEmpty { glitch(at: now) }
            if fin { receiveFIN(streamID) }
            return
        }
        guard length <= Int(stream.receiveWindow) else { return fail(.windowExceeded(streamID)) }
        streams[streamID]?.receiveWindow -= UInt32(length)
        // Counted whole from the header on, so that credit is never given for bytes still to come.
        streams[streamID]?.unread += length
        guard !stream.finReceived else {
            payload = .discard(remaining: length)
            return glitch(at: now)
        }
        guard stream.isAbandoned else {
            payload = .deliver(streamID, remaining: length, fin: fin)
            return
        }
        payload = .discard(remaining: length)
        let abandonedBytes = stream.abandonedBytes + length
        streams[streamID]?.abandonedBytes = abandonedBytes
        if fin {
            receiveFIN(streamID)
        } else if stream.finSent, abandonedBytes > Self.abandonedAllowance {
            reset(streamID, .unspecified)
        }
    }

    /// What may still arrive on a stream that the application closed before we reset it: negotiation
    /// answers of peers that answer late, but not bulk.
    private static let abandonedAllowance = 64 * 1024

    /// Registers the stream of a SYN; false when the frame is dealt with.
    private mutating func accept(_ frame: YamuxHeader, at now: Instant) -> Bool {
        let streamID = frame.streamID
        let remoteParity: UInt32 = role == .client ? 0 : 1
        guard streamID != 0, streamID % 2 == remoteParity else {
            fail(.wrongStreamParity(streamID))
            return false
        }
        guard streams[streamID] == nil else {
            fail(.duplicateStream(streamID))
            return false
        }
        highestRemoteID = max(highestRemoteID, streamID)
        guard inboundStreams < maximumInboundStreams else {
            glitch(at: now)
            guard failure == nil else { return false }
            writeReset(streamID, .resourceLimit)
            return true
        }
        inboundStreams += 1
        streams[streamID] = Stream(isInbound: true, isAcknowledged: true, lastUpdate: now)
        outputs.append(.write(YamuxHeader(type: .windowUpdate, flags: .ack, streamID: streamID, length: 0)))
        outputs.append(.opened(streamID))
        return true
    }

    private mutating func deliver(_ bytes: ByteBuffer, to streamID: UInt32) {
        guard let index = streams.index(forKey: streamID), !streams.values[index].isAbandoned else { return }
        let count = bytes.readableBytes
        guard unreadBytes + count <= configuration.maximumUnreadBytes else {
            reset(streamID, .resourceLimit)
            outputs.append(.reset(streamID, .resourceLimit))
            return
        }
        unreadBytes += count
        outputs.append(.data(streamID, bytes))
    }

    private mutating func receiveFIN(_ streamID: UInt32) {
        guard let stream = streams[streamID], !stream.finReceived else { return }
        streams[streamID]?.finReceived = true
        if !stream.isAbandoned { outputs.append(.inputClosed(streamID)) }
        removeIfDone(streamID)
    }

    /// True when `streamID` may have been open once.
    private func isPast(_ streamID: UInt32) -> Bool {
        let remoteParity: UInt32 = role == .client ? 0 : 1
        if streamID % 2 == remoteParity { return streamID <= highestRemoteID }
        guard let nextStreamID else { return true }
        return streamID < nextStreamID
    }

    private mutating func glitchUnlessReset(_ frame: YamuxHeader, at now: Instant) {
        // Credit, FIN and RST for a stream that just ended here are in the nature of things.
        if isPast(frame.streamID), frame.type == .windowUpdate { return }
        glitch(at: now)
    }

    private mutating func glitch(at now: Instant) {
        if !glitches.spend(at: now) { fail(.tooManyGlitches) }
    }

    // MARK: - From the application

    /// Opens a stream and returns its ID.
    ///
    /// Throws `YamuxOpenError` when a limit is reached; `YamuxOpenError.sessionEnded` when the
    /// session is over or has no stream IDs left, which ends it.
    package mutating func openStream(at now: Instant) throws(YamuxOpenError) -> UInt32 {
        guard failure == nil else { throw .sessionEnded }
        guard let streamID = nextStreamID else {
            fail(.streamIDsExhausted)
            throw .sessionEnded
        }
        guard outboundStreams < configuration.maximumOutboundStreams else { throw .tooManyStreams }
        guard unacknowledged < configuration.maximumUnacknowledgedStreams else {
            throw .tooManyUnacknowledged
        }
        let (following, overflow) = streamID.addingReportingOverflow(2)
        nextStreamID = overflow ? nil : following
        outboundStreams += 1
        unacknowledged += 1
        streams[streamID] = Stream(isInbound: false, isAcknowledged: false, lastUpdate: now)
        outputs.append(.write(YamuxHeader(type: .windowUpdate, flags: .syn, streamID: streamID, length: 0)))
        return streamID
    }

    /// `count` more bytes of the stream wait to be sent.
    package mutating func wantsToSend(_ count: Int, on streamID: UInt32) {
        guard let index = streams.index(forKey: streamID), !streams.values[index].finSent else { return }
        streams.values[index].pending += count
        enqueue(streamID)
    }

    /// Whose turn it is to send, in a round of turns of one large frame's bytes each; nil when no
    /// stream has both data and window. Follow it by `sent`.
    package mutating func nextGrant() -> Grant? {
        guard failure == nil else { return nil }
        while let streamID = ready.first {
            guard let stream = streams[streamID], stream.pending > 0, stream.sendWindow > 0 else {
                ready.removeFirst()
                streams[streamID]?.isQueued = false
                continue
            }
            return Grant(
                streamID: streamID,
                maximumBytes: min(stream.pending, Int(stream.sendWindow), configuration.maximumFramePayload))
        }
        return nil
    }

    /// The driver sent a data frame of `count` bytes, 1 to the maximum of the grant.
    package mutating func sent(_ count: Int, under grant: Grant) {
        guard let index = streams.index(forKey: grant.streamID) else { return }
        let amount = min(max(count, 0), grant.maximumBytes)
        streams.values[index].pending -= amount
        streams.values[index].sendWindow -= UInt32(amount)
        streams.values[index].sentInTurn += amount
        let stream = streams.values[index]
        if stream.pending == 0 || stream.sendWindow == 0
            || stream.sentInTurn >= configuration.maximumFramePayload
        {
            streams.values[index].sentInTurn = 0
            if ready.first == grant.streamID { ready.removeFirst() }
            streams.values[index].isQueued = false
            if stream.pending > 0 { enqueue(grant.streamID) }
        }
        if stream.pending == 0, stream.finWanted { sendFIN(grant.streamID) }
    }

    /// The application took `count` bytes that `.data` brought (or they were thrown away with it).
    package mutating func consumed(_ count: Int, on streamID: UInt32, at now: Instant) {
        unreadBytes -= min(count, unreadBytes)
        guard let index = streams.index(forKey: streamID) else { return }
        streams.values[index].unread -= min(count, streams.values[index].unread)
        let stream = streams.values[index]
        guard !stream.finReceived, !stream.isAbandoned else { return }
        let outstanding = Int(stream.receiveWindow) + stream.unread
        guard Int(stream.windowTarget) - outstanding >= Int(stream.windowTarget / 2) else { return }
        if let roundTrip, now - stream.lastUpdate < roundTrip * 4 { growWindow(at: index) }
        let delta = UInt32(clamping: Int(streams.values[index].windowTarget) - outstanding)
        streams.values[index].receiveWindow += delta
        streams.values[index].lastUpdate = now
        outputs.append(.write(YamuxHeader(type: .windowUpdate, flags: [], streamID: streamID, length: delta)))
    }

    /// Doubles a window that was used up within four round trips, as far as both bounds allow.
    private mutating func growWindow(at index: Dictionary<UInt32, Stream>.Index) {
        guard mayGrowWindows else { return }
        let target = streams.values[index].windowTarget
        let room = configuration.windowGrowthBudget - windowGrowth
        let growth = min(Int(target), Int(configuration.maximumWindow) - Int(target), room)
        guard growth > 0 else { return }
        windowGrowth += growth
        streams.values[index].windowTarget += UInt32(growth)
    }

    /// The application will write no more: FIN follows what is pending.
    package mutating func closeOutput(_ streamID: UInt32) {
        guard let index = streams.index(forKey: streamID), !streams.values[index].finWanted else { return }
        streams.values[index].finWanted = true
        if streams.values[index].pending == 0 { sendFIN(streamID) }
    }

    /// The application is done with the stream: FIN follows what is pending, and what arrives is
    /// thrown away. `.finished` follows once all is sent, `.reset` if that takes too long.
    package mutating func closeStream(_ streamID: UInt32, at now: Instant) {
        guard let index = streams.index(forKey: streamID), !streams.values[index].isAbandoned else { return }
        streams.values[index].isAbandoned = true
        if streams.values[index].finSent {
            outputs.append(.finished(streamID))
            abandon(streamID)
        } else {
            streams.values[index].finWanted = true
            if streams.values[index].pending == 0 {
                sendFIN(streamID)
            } else {
                lingering.append((streamID, now + configuration.lingerTimeout))
            }
        }
    }

    /// Ends the stream in both directions at once and tells the peer `reason`.
    package mutating func reset(_ streamID: UInt32, _ reason: StreamReset) {
        guard streams[streamID] != nil else { return }
        remove(streamID)
        writeReset(streamID, reason)
    }

    /// Ends the session; a code other than 0 is told to the peer.
    package mutating func close(code: UInt32) {
        fail(.closed(code))
    }

    // MARK: - Within

    private mutating func enqueue(_ streamID: UInt32) {
        guard let index = streams.index(forKey: streamID) else { return }
        let stream = streams.values[index]
        guard !stream.isQueued, stream.pending > 0, stream.sendWindow > 0 else { return }
        streams.values[index].isQueued = true
        ready.append(streamID)
    }

    private mutating func sendFIN(_ streamID: UInt32) {
        guard let stream = streams[streamID], !stream.finSent else { return }
        streams[streamID]?.finSent = true
        while let first = lingering.first, streams[first.streamID]?.finSent ?? true {
            lingering.removeFirst()
        }
        outputs.append(.write(YamuxHeader(type: .windowUpdate, flags: .fin, streamID: streamID, length: 0)))
        if stream.isAbandoned {
            outputs.append(.finished(streamID))
            abandon(streamID)
        } else {
            removeIfDone(streamID)
        }
    }

    /// Keeps a closed stream in mind until the peer's FIN, at most so many of them.
    private mutating func abandon(_ streamID: UInt32) {
        if removeIfDone(streamID) { return }
        draining.append(streamID)
        while draining.count > Self.maximumDraining, let oldest = draining.popFirst() { remove(oldest) }
    }

    private static let maximumDraining = 256

    @discardableResult
    private mutating func removeIfDone(_ streamID: UInt32) -> Bool {
        guard let stream = streams[streamID], stream.finSent, stream.finReceived else { return false }
        remove(streamID)
        return true
    }

    private mutating func remove(_ streamID: UInt32) {
        guard let stream = streams.removeValue(forKey: streamID) else { return }
        if stream.isInbound { inboundStreams -= 1 } else { outboundStreams -= 1 }
        if !stream.isAcknowledged { unacknowledged -= 1 }
        windowGrowth -= Int(stream.windowTarget) - Int(YamuxConfiguration.initialWindow)
        if case .deliver(streamID, let remaining, _) = payload { payload = .discard(remaining: remaining) }
    }

    private mutating func writeReset(_ streamID: UInt32, _ reason: StreamReset) {
        outputs.append(
            .write(YamuxHeader(type: .windowUpdate, flags: .rst, streamID: streamID, length: reason.code)))
    }

    private mutating func fail(_ error: YamuxError) {
        guard failure == nil else { return }
        failure = error
        if let code = error.goAwayCode {
            outputs.append(.write(YamuxHeader(type: .goAway, flags: [], streamID: 0, length: code)))
        }
        outputs.append(.closed(error))
    }
}

/// Why a stream could not be opened.
package enum YamuxOpenError: Error, Hashable, Sendable {
    /// Our own limit of open streams; close some.
    case tooManyStreams
    /// The peer has not accepted the last 256; try again when it has.
    case tooManyUnacknowledged
    /// The connection is closed or closing.
    case sessionEnded
}
