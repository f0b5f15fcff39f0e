internal import CLinuxNet
internal import LibP2P
internal import Synchronization

/// An address and port of UDP, IPv4 as IPv4-mapped IPv6.
struct DatagramEndpoint: Hashable, Sendable {
    /// The two halves of the address as they stand in memory.
    var first: UInt64
    var second: UInt64
    var scope: UInt32
    var port: UInt16

    init(_ raw: clinuxnet_endpoint) {
        (first, second, scope, port) = (raw.first, raw.second, raw.scope, raw.port)
    }

    /// An address of 4 or 16 bytes in network order; nil for another length.
    init?(address: [UInt8], scope: UInt32 = 0, port: UInt16) {
        let mapped = [UInt8](repeating: 0, count: 10) + [255, 255]
        let bytes = address.count == 4 ? mapped + address : address
        guard bytes.count == 16 else { return nil }
        (first, second) = bytes.withUnsafeBytes {
            ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
        }
        self.scope = scope
        self.port = port
    }

    var raw: clinuxnet_endpoint { clinuxnet_endpoint(first: first, second: second, scope: scope, port: port) }

    /// The IPv4 address, in host byte order; nil for IPv6.
    var ipv4: UInt32? {
        guard first == 0, UInt32(truncatingIfNeeded: second.littleEndian) == 0xffff_0000 else { return nil }
        return UInt32(bigEndian: UInt32(truncatingIfNeeded: second.littleEndian >> 32))
    }
}

/// Whether packets are sent by a session, as the packet thread and the control plane tell each other.
enum Sending: UInt8, AtomicRepresentable {
    /// The next packet has to be reported: nobody will look for it.
    case unwatched
    /// Nothing was sent since the control plane looked, and it will look again.
    case watched
    /// Something was.
    case used
}

/// The keys, counters and window of one session with one peer.
///
/// Sendable unchecked because of what belongs to the packet thread: `deviceCipher`, `openCipher` and `window`. The rest
/// is constant, atomic or locked.
final class DatagramSession: @unchecked Sendable {
    let peer: PeerID
    /// What stands in datagrams to us, and in those to the peer.
    let localIndex: UInt32
    let remoteIndex: UInt32
    /// The length of the largest packet that both ends take.
    let maximumPacket: Int
    let deviceCipher: PacketCipher
    let openCipher: PacketCipher
    var window = ReplayWindow()
    /// For probes and echoes, which come from any thread.
    private let controlCipher: Mutex<PacketCipher>
    private let counter: Atomic<UInt64>
    /// How many messages the key may seal.
    private let maximumCounter: UInt64
    let sending = Atomic<Sending>(.unwatched)
    let hasReceived = Atomic<Bool>(false)
    /// The super-packets that the peer takes as blocks.
    let blocks: OffloadCapabilities
    /// Whether the path loses so little that super-packets go as blocks.
    let sealsBlocks = Atomic<Bool>(true)

    /// Nil when libcrypto does not offer the algorithm.
    init?(
        peer: PeerID, localIndex: UInt32, remoteIndex: UInt32, maximumPacket: Int, sendKey: SecretBytes,
        receiveKey: SecretBytes, algorithm: PacketCipher.Algorithm, blocks: OffloadCapabilities = [],
        firstCounter: UInt64 = 0
    ) {
        guard let device = PacketCipher(key: sendKey, algorithm: algorithm, seals: true),
            let control = PacketCipher(key: sendKey, algorithm: algorithm, seals: true),
            let open = PacketCipher(key: receiveKey, algorithm: algorithm, seals: false)
        else { return nil }
        self.peer = peer
        self.localIndex = localIndex
        self.remoteIndex = remoteIndex
        self.maximumPacket = maximumPacket
        self.blocks = blocks
        self.deviceCipher = device
        self.openCipher = open
        self.controlCipher = Mutex(control)
        self.counter = Atomic(firstCounter)
        self.maximumCounter = DatagramFormat.maximumCounter(of: algorithm)
    }

    /// A counter that was not used before; nil when the key is used up.
    func reserveCounter() -> UInt64? {
        let value = counter.wrappingAdd(1, ordering: .relaxed).oldValue
        if value < maximumCounter { return value }
        // Never back under the limit.
        counter.store(maximumCounter, ordering: .relaxed)
        return nil
    }

    /// How many messages the key has sealed, at most.
    var sealed: UInt64 { counter.load(ordering: .relaxed) }

    /// Writes the header and seals `count` bytes (inner header and body) that stand behind it. `bytes` has room for
    /// the tag. Returns the datagram's length. Belongs to the packet thread.
    func seal(_ bytes: UnsafeMutableRawPointer, count: Int) -> Int? {
        seal(bytes, count: count, with: deviceCipher)
    }

    private func seal(_ bytes: UnsafeMutableRawPointer, count: Int, with cipher: PacketCipher) -> Int? {
        guard let counter = reserveCounter() else { return nil }
        bytes.storeBytes(of: remoteIndex.bigEndian, as: UInt32.self)
        bytes.storeBytes(of: counter.bigEndian, toByteOffset: 4, as: UInt64.self)
        guard cipher.seal(bytes + DatagramFormat.headerLength, count: count, counter: counter) else {
            return nil
        }
        return DatagramFormat.headerLength + count + PacketCipher.tagLength
    }

    /// A probe or an echo is as long as the largest packet, so that its way is proven for all; others are short.
    func control(kind: UInt8, number: UInt64) -> [UInt8]? {
        let isProof = kind == DatagramFormat.probe || kind == DatagramFormat.echo
        let count = DatagramFormat.innerHeaderLength + (isProof ? max(8, maximumPacket) : 8)
        var bytes = [UInt8](repeating: 0, count: DatagramFormat.headerLength + count + PacketCipher.tagLength)
        return bytes.withUnsafeMutableBytes { buffer -> Bool in
            guard let start = buffer.baseAddress else { return false }
            buffer[DatagramFormat.headerLength] = kind
            buffer.storeBytes(
                of: number.bigEndian,
                toByteOffset: DatagramFormat.headerLength + DatagramFormat.innerHeaderLength, as: UInt64.self)
            return controlCipher.withLock { seal(start, count: count, with: $0) } != nil
        } ? bytes : nil
    }

    /// Opens a datagram in place and takes its counter. Returns the inner header and body; nil when it is old, was
    /// taken before, or is not authentic. Belongs to the packet thread.
    func open(_ datagram: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard datagram.count >= DatagramFormat.minimumLength, let start = datagram.baseAddress else {
            return nil
        }
        let counter = UInt64(bigEndian: datagram.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        guard window.accepts(counter) else { return nil }
        let count = datagram.count - DatagramFormat.headerLength - PacketCipher.tagLength
        let inner = start + DatagramFormat.headerLength
        guard openCipher.open(inner, count: count, counter: counter), window.take(counter) else { return nil }
        if !hasReceived.load(ordering: .relaxed) { hasReceived.store(true, ordering: .relaxed) }
        return UnsafeRawBufferPointer(start: inner, count: count)
    }
}

/// A session that is in use, and where it leads: what the routing table holds.
final class DatagramPath: Sendable {
    let session: DatagramSession
    let endpoint: DatagramEndpoint
    let socket: DatagramSocket
    /// Called when the session is used for the first time after a look at it.
    let onUse: @Sendable () -> Void

    init(
        session: DatagramSession, endpoint: DatagramEndpoint, socket: DatagramSocket,
        onUse: @escaping @Sendable () -> Void
    ) {
        self.session = session
        self.endpoint = endpoint
        self.socket = socket
        self.onUse = onUse
    }

    func noteUse() {
        if session.sending.load(ordering: .relaxed) == .used { return }
        if session.sending.exchange(.used, ordering: .relaxed) == .unwatched { onUse() }
    }
}
