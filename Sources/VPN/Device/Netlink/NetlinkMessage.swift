/// A netlink request under construction: header, fixed part, attributes (netlink(7)). Integers are
/// in the machine's own byte order, as netlink wants them.
struct NetlinkRequest {
    /// The message's bytes so far, length field included.
    private(set) var bytes: [UInt8] = []

    /// Starts a request of `type` with `flags`; NLM_F_REQUEST is added. `body` is the fixed part of
    /// the type, such as `ifinfomsg`.
    init(type: UInt16, flags: UInt16, sequence: UInt32, body: [UInt8]) {
        append(UInt32(0))
        append(type)
        append(flags | Netlink.flagRequest)
        append(sequence)
        append(UInt32(0))
        bytes += body
        pad()
        setLength()
    }

    /// Adds an attribute (`rtattr`).
    mutating func attribute(_ type: UInt16, _ value: [UInt8]) {
        append(UInt16(4 + value.count))
        append(type)
        bytes += value
        pad()
        setLength()
    }

    mutating func attribute(_ type: UInt16, _ value: UInt32) {
        attribute(type, Netlink.bytes(of: value))
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        bytes += Netlink.bytes(of: value)
    }

    private mutating func pad() {
        while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
    }

    private mutating func setLength() {
        bytes.replaceSubrange(0..<4, with: Netlink.bytes(of: UInt32(bytes.count)))
    }
}

/// One message of a netlink answer.
struct NetlinkMessage: Hashable {
    var type: UInt16
    var sequence: UInt32
    /// What follows the header.
    var payload: ArraySlice<UInt8>

    /// Splits a datagram into its messages. Nil when a length is impossible.
    static func parse(_ datagram: [UInt8]) -> [NetlinkMessage]? {
        var messages: [NetlinkMessage] = []
        var rest = datagram[...]
        while !rest.isEmpty {
            guard let length = Netlink.integer(UInt32.self, in: rest, at: 0).flatMap({ Int(exactly: $0) }),
                length >= 16, length <= rest.count,
                let type = Netlink.integer(UInt16.self, in: rest, at: 4),
                let sequence = Netlink.integer(UInt32.self, in: rest, at: 8)
            else { return nil }
            messages.append(
                NetlinkMessage(type: type, sequence: sequence, payload: rest.prefix(length).dropFirst(16)))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return messages
    }

    /// The attributes after the fixed part of `offset` bytes, by type without the flag bits.
    func attributes(after offset: Int) -> [UInt16: ArraySlice<UInt8>] {
        Self.attributes(in: payload.dropFirst(offset))
    }

    static func attributes(in bytes: ArraySlice<UInt8>) -> [UInt16: ArraySlice<UInt8>] {
        var attributes: [UInt16: ArraySlice<UInt8>] = [:]
        var rest = bytes
        while let length = Netlink.integer(UInt16.self, in: rest, at: 0).map(Int.init), length >= 4,
            length <= rest.count, let type = Netlink.integer(UInt16.self, in: rest, at: 2)
        {
            attributes[type & 0x3fff] = rest.prefix(length).dropFirst(4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return attributes
    }
}

/// Numbers of linux/netlink.h, linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h, which no
/// module map exports.
enum Netlink {
    static let flagRequest: UInt16 = 0x1
    static let flagAcknowledge: UInt16 = 0x4
    static let flagDump: UInt16 = 0x300
    static let flagReplace: UInt16 = 0x100
    static let flagCreate: UInt16 = 0x400

    static let error: UInt16 = 2
    static let done: UInt16 = 3
    static let newLink: UInt16 = 16
    static let getLink: UInt16 = 18
    static let newAddress: UInt16 = 20
    static let deleteAddress: UInt16 = 21
    static let getAddress: UInt16 = 22
    static let newRoute: UInt16 = 24
    static let getRoute: UInt16 = 26

    static let linkName: UInt16 = 3
    static let linkMTU: UInt16 = 4
    static let linkInfo: UInt16 = 18
    static let linkInfoKind: UInt16 = 1
    static let linkAddressFamilySpecific: UInt16 = 26
    static let inet6AddressGenerationMode: UInt16 = 8
    static let addressGenerationNone: UInt8 = 1
    static let addressAddress: UInt16 = 1
    static let addressLocal: UInt16 = 2
    static let routeDestination: UInt16 = 1
    static let routeOutputInterface: UInt16 = 4
    static let routePreferredSource: UInt16 = 7

    static let familyUnspecified: UInt8 = 0
    static let familyIPv4: UInt8 = 2
    static let familyIPv6: UInt8 = 10
    static let interfaceUp: UInt32 = 1
    static let tableMain: UInt8 = 254
    static let protocolStatic: UInt8 = 4
    static let scopeLink: UInt8 = 253
    static let routeUnicast: UInt8 = 1

    /// `value` in the machine's byte order.
    static func bytes(of value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    /// The integer at `offset` of `slice`, in the machine's byte order; nil past the end.
    static func integer<Value: FixedWidthInteger>(
        _ type: Value.Type, in slice: ArraySlice<UInt8>, at offset: Int
    ) -> Value? {
        let size = MemoryLayout<Value>.size
        guard offset >= 0, slice.count >= offset + size else { return nil }
        return slice.dropFirst(offset).prefix(size).withUnsafeBytes { $0.loadUnaligned(as: Value.self) }
    }
}
