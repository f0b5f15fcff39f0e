package import LibP2P
internal import Logging
internal import NIOCore
internal import Synchronization
internal import Timing

extension ProtocolID {
    /// Packets between our nodes.
    package static let kairosVPN: ProtocolID = "/kairos/vpn/1.0.0"
    /// Packets with stock EdgeVPN nodes (contract K.1).
    package static let edgeVPN: ProtocolID = "/edgevpn/0.1"
}

/// What all links share.
struct LinkContext: Sendable {
    let host: any Host
    let counters: PacketCounters
    let time: any TimeSource
    /// What our kernel may put into the packets that we read, and takes in those that we write.
    let kernel: KernelCapabilities
    let mtu: UInt16
    /// The bytes that may wait for one peer.
    let queueBytes: Int
    let configuration: PeerLinkCore.Configuration
    /// Called when packets are given to a link whose `streamUse` was not noted yet.
    let onStreamUse: @Sendable (PeerID) -> Void
}

/// The capabilities of the device, known once it has been opened.
final class KernelCapabilities: Sendable {
    private let rawValue = Atomic<UInt8>(0)

    var value: OffloadCapabilities {
        get { OffloadCapabilities(rawValue: rawValue.load(ordering: .relaxed)) }
        set { rawValue.store(newValue.rawValue, ordering: .relaxed) }
    }
}

/// The way to one peer: a queue that the device's thread fills, and the stream that empties it.
///
/// The one lock guards the queue's ends between the device's thread and the stream's loop; it is held
/// for the moving of a reference, never for a system call or a write.
final class PeerLink: Sendable {
    let peer: PeerID
    private let context: LinkContext
    private let state: Mutex<State>
    /// When the use of the stream was last told to the datagram paths.
    private let streamUseTold = Atomic<UInt64>(0)

    private struct State {
        var core: PeerLinkCore
        var queue: PacketQueue
        /// The stream, while the link is open to a peer of ours.
        var channel: (any Channel)?
        /// What the peer takes; nothing until its hello has come.
        var remoteCapabilities: OffloadCapabilities = []
        var remoteMTU: UInt16?
        var isDrainScheduled = false
        var timer: Instant?
        var wakeUp = WakeUp("PeerLinkCore")
        /// What identify says that the peer speaks.
        var knownProtocols: Set<ProtocolID>?
        var sentPackets: UInt64 = 0
    }

    init(peer: PeerID, context: LinkContext) {
        self.peer = peer
        self.context = context
        self.state = Mutex(
            State(
                core: PeerLinkCore(configuration: context.configuration),
                queue: PacketQueue(maximumBytes: context.queueBytes)))
    }

    /// What the link is doing.
    var snapshot: VPNLinkStatus {
        state.withLock { state in
            VPNLinkStatus(
                peer: peer, state: state.core.state, queuedBytes: state.queue.bytes,
                remoteMTU: state.remoteMTU,
                sentPackets: state.sentPackets)
        }
    }

    // MARK: - from the device

    /// Queues packets. Called on the device's thread.
    func send(_ batch: PacketBatch) {
        let now = context.time.now()
        let bytes = batch.frames.readableBytes
        let (effects, expired, isTaken) = state.withLock { state in
            let expired = state.queue.expire(olderThan: state.core.patience, at: now)
            guard state.queue.push(batch, at: now) else { return ([PeerLinkCore.Effect](), expired, false) }
            state.sentPackets &+= UInt64(batch.packets)
            var effects = state.core.receive(.packetsQueued, at: now)
            if effects == [.drain] {
                if state.isDrainScheduled { effects = [] }
                state.isDrainScheduled = true
            }
            return (effects, expired, true)
        }
        context.counters.dropped(.queueExpired, count: expired)
        if isTaken {
            context.counters.sent(packets: batch.packets, bytes: bytes)
        } else {
            context.counters.dropped(.queueFull, count: batch.packets)
        }
        perform(effects, at: now)
        tellStreamUse(at: now)
    }

    /// Says that the stream is used, a few times a second at most.
    private func tellStreamUse(at now: Instant) {
        let told = streamUseTold.load(ordering: .relaxed)
        guard now.nanoseconds &- told > 200_000_000 else { return }
        streamUseTold.store(now.nanoseconds, ordering: .relaxed)
        let (peer, tell) = (peer, context.onStreamUse)
        context.host.eventLoop.execute { tell(peer) }
    }

    // MARK: - events

    /// A connection to the peer is up.
    func peerConnected() { receive(.peerConnected) }

    /// Identify said what the peer speaks.
    func peerIdentified(_ protocols: Set<ProtocolID>) {
        state.withLock { $0.knownProtocols = protocols }
        receive(.peerConnected)
    }

    /// The peer's hello has come on the stream `channel`.
    fileprivate func helloReceived(_ hello: VPNHello) {
        state.withLock {
            $0.remoteCapabilities = hello.capabilities
            $0.remoteMTU = hello.mtu
        }
    }

    fileprivate func streamClosed(_ channel: any Channel) {
        let isCurrent = state.withLock { state in
            guard state.channel === channel else { return false }
            state.channel = nil
            state.remoteCapabilities = []
            return true
        }
        if isCurrent { closed() }
    }

    /// The stream is gone: packets that wait bring another one about at once.
    private func closed() {
        receive(.closed)
        if state.withLock({ !$0.queue.isEmpty }) { receive(.packetsQueued) }
    }

    /// Closes the stream and drops what waits.
    func shutDown() {
        let channel = state.withLock { state in
            _ = state.queue.removeAll()
            defer { state.channel = nil }
            return state.channel
        }
        channel?.close(promise: nil)
        receive(.closed)
    }

    private func receive(_ input: PeerLinkCore.Input) {
        let now = context.time.now()
        let effects = state.withLock { $0.core.receive(input, at: now) }
        perform(effects, at: now)
    }

    private func perform(_ effects: [PeerLinkCore.Effect], at now: Instant) {
        for effect in effects {
            switch effect {
            case .open: open()
            case .drain: scheduleDrain()
            case .close:
                let channel = state.withLock { state in
                    defer { state.channel = nil }
                    return state.channel
                }
                channel?.close(promise: nil)
            case .dial:
                context.host.dial(peer, addresses: []).whenFailure { _ in
                    // The link backs off and tries again; the swarm reports the failure itself.
                }
            }
        }
        scheduleTimer(at: now)
    }

    /// Keeps one timer that fires no later than the deadline. A deadline that only moves on, as an
    /// open link's does with every packet, costs no new timer.
    private func scheduleTimer(at now: Instant) {
        let wanted: WakeUp.Plan? = state.withLock { state in
            guard let deadline = state.core.nextDeadline else { return nil }
            if let timer = state.timer, timer <= deadline { return nil }
            guard let plan = state.wakeUp.next(deadline, at: now) else { return nil }
            if let timer = state.timer, timer <= plan.at { return nil }
            state.timer = plan.at
            return plan
        }
        guard let wanted else { return }
        if let warning = wanted.warning { Logger(label: "vpn").warning("\(warning)") }
        let delay = TimeAmount.nanoseconds(wanted.delay.wholeNanoseconds)
        context.host.eventLoop.scheduleTask(in: delay) { [weak self] in
            guard let self else { return }
            let now = self.context.time.now()
            let (effects, expired) = self.state.withLock { state in
                if state.timer == wanted.at { state.timer = nil }
                state.wakeUp.fired()
                let expired = state.queue.expire(olderThan: state.core.patience, at: now)
                return (state.core.receive(.tick(queueIsEmpty: state.queue.isEmpty), at: now), expired)
            }
            self.context.counters.dropped(.queueExpired, count: expired)
            self.perform(effects, at: now)
        }
    }

    // MARK: - the stream to a peer of ours

    private func open() {
        let known = state.withLock { $0.knownProtocols }
        // A peer that identify shows to be a stock one is not asked for what it does not speak.
        let isStock = known.map { !$0.contains(.kairosVPN) && $0.contains(.edgeVPN) } ?? false
        let agreed = AgreedProtocol()
        context.host.openStream(to: peer, protocols: isStock ? [.edgeVPN] : [.kairosVPN, .edgeVPN]) {
            [self] stream in
            agreed.set(stream.protocolID)
            return stream.channel.eventLoop.makeCompletedFuture {
                let hello = stream.protocolID == .kairosVPN ? hello : nil
                try stream.channel.pipeline.syncOperations.addHandler(
                    SendingStreamHandler(link: self, hello: hello))
            }
        }.whenComplete { [self] result in
            switch result {
            case .success(let channel):
                state.withLock { $0.channel = channel }
                receive(.opened(agreed.value == .kairosVPN ? .kairos : .stock))
                // It may have closed before it was ours.
                if !channel.isActive { streamClosed(channel) }
            case .failure:
                receive(.openFailed)
            }
        }
    }

    private var hello: VPNHello { VPNHello(capabilities: context.kernel.value, mtu: context.mtu) }

    private func scheduleDrain() {
        let loop = state.withLock { state in
            state.isDrainScheduled = true
            return state.channel?.eventLoop ?? context.host.eventLoop
        }
        loop.execute { self.drain() }
    }

    /// Moves packets from the queue to the stream for as long as it takes them. Called on its loop.
    fileprivate func drain() {
        let (channel, state) = self.state.withLock { state in
            state.isDrainScheduled = false
            return (state.channel, state.core.state)
        }
        guard case .open(let dialect) = state, let channel else { return }
        var hasWritten = false
        while channel.isWritable, let (batch, capabilities) = nextBatch() {
            switch dialect {
            case .kairos: channel.write(prepare(batch, for: capabilities), promise: nil)
            case .stock: writePlain(batch, to: channel)
            }
            hasWritten = true
        }
        if hasWritten { channel.flush() }
    }

    /// One packet in each write, which is one frame of the muxer: a stock peer takes each frame for a packet
    /// (contract K.1).
    private func writePlain(_ frames: ByteBuffer, to channel: any Channel) {
        forEachFrame(frames) { header, bytes in
            segment(header, bytes) { channel.write(ByteBuffer(bytes: $0), promise: nil) }
        }
    }

    private func nextBatch() -> (ByteBuffer, OffloadCapabilities)? {
        let now = context.time.now()
        let (batch, capabilities, expired) = state.withLock { state in
            let expired = state.queue.expire(olderThan: state.core.patience, at: now)
            return (state.queue.pop(), state.remoteCapabilities, expired)
        }
        context.counters.dropped(.queueExpired, count: expired)
        return batch.map { ($0.frames, capabilities) }
    }

    /// The frames as the peer takes them; untouched when it takes all that our kernel makes.
    private func prepare(_ frames: ByteBuffer, for capabilities: OffloadCapabilities) -> ByteBuffer {
        if capabilities.isSuperset(of: context.kernel.value) { return frames }
        var prepared = ByteBufferAllocator().buffer(capacity: frames.readableBytes + 4096)
        forEachFrame(frames) { header, bytes in
            if header.required.isSubset(of: capabilities) {
                VPNFrame.append(packet: bytes, to: &prepared)
            } else {
                segment(header, bytes) { VPNFrame.append(plain: $0, to: &prepared) }
            }
        }
        return prepared
    }

    private func forEachFrame(
        _ frames: ByteBuffer, _ body: (VirtioNetHeader, UnsafeRawBufferPointer) -> Void
    ) {
        var frames = frames
        while let prefix = frames.readInteger(as: UInt32.self),
            let payload = frames.readSlice(length: Int(prefix & 0xff_ffff))
        {
            payload.withUnsafeReadableBytes { bytes in
                if let header = VirtioNetHeader(bytes) { body(header, bytes) }
            }
        }
    }

    private func segment(
        _ header: VirtioNetHeader, _ bytes: UnsafeRawBufferPointer, _ emit: (UnsafeRawBufferPointer) -> Void
    ) {
        var segmentation = Segmentation()
        do {
            let packet = UnsafeRawBufferPointer(rebasing: bytes[VirtioNetHeader.size...])
            try segmentation.packets(header, packet, emit: emit)
        } catch {
            context.counters.dropped(error)
        }
    }

}

/// Remembers what the two ends of a stream agreed on.
private final class AgreedProtocol: Sendable {
    private let agreed = Mutex<ProtocolID?>(nil)

    func set(_ new: ProtocolID) { agreed.withLock { $0 = new } }

    var value: ProtocolID? { agreed.withLock { $0 } }
}

/// The opener's end of a stream of `/kairos/vpn/1.0.0`, or without a hello of one of `/edgevpn/0.1`, on which nothing
/// comes back.
private final class SendingStreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let link: PeerLink
    private let hello: VPNHello?
    private var decoder = VPNFrameDecoder()
    private var saidHello = false

    init(link: PeerLink, hello: VPNHello?) {
        self.link = link
        self.hello = hello
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { sayHello(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        sayHello(context)
        context.fireChannelActive()
    }

    private func sayHello(_ context: ChannelHandlerContext) {
        guard !saidHello, let hello else { return }
        saidHello = true
        var buffer = context.channel.allocator.buffer(capacity: 8)
        VPNFrame.append(hello, to: &buffer)
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard hello != nil else { return }
        decoder.feed(unwrapInboundIn(data))
        do {
            while let frame = try decoder.next() {
                guard case .hello(let hello) = frame else { throw VPNFrameError.unexpectedPacket }
                link.helloReceived(hello)
            }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { link.drain() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The receiver ends its side only when it wants no more.
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        link.streamClosed(context.channel)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
