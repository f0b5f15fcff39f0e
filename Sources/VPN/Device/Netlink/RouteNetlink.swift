/// What the kernel says of one network device.
package struct InterfaceState: Hashable, Sendable {
    /// The interface index: stays for as long as the device exists.
    package var index: UInt32
    package var name: String
    package var mtu: UInt32
    package var isUp: Bool
    /// The driver's kind, "tun" for ours; nil for devices that have none, such as `lo`.
    package var kind: String?
}

/// An IPv4 address of a device.
package struct AssignedAddress: Hashable, Sendable {
    package var address: VirtualAddress
    package var prefixLength: UInt8

    package init(_ address: VirtualAddress, prefixLength: UInt8) {
        self.address = address
        self.prefixLength = prefixLength
    }
}

/// An IPv4 route through a device, in the main table.
struct AssignedRoute: Hashable, Sendable {
    var destination: VirtualAddress
    var prefixLength: UInt8
}

/// The few requests of rtnetlink(7) that bringing a device up takes.
struct RouteNetlink {
    private let transport: any NetlinkTransport
    private var sequence: UInt32 = 0

    init(transport: any NetlinkTransport) {
        self.transport = transport
    }

    /// The device called `name`; nil when there is none.
    mutating func link(named name: String) throws(NetlinkError) -> InterfaceState? {
        var request = next(Netlink.getLink, flags: 0, body: Self.linkBody())
        request.attribute(Netlink.linkName, Array(name.utf8) + [0])
        let what = "look up the device \(name)"
        let answers: [NetlinkMessage]
        do {
            answers = try exchange(request, what: what, expectingDump: false)
        } catch .refused(_, let errno) where errno == 19 {
            return nil  // ENODEV
        }
        guard let answer = answers.first(where: { $0.type == Netlink.newLink }) else {
            throw .malformedAnswer(request: what)
        }
        let attributes = answer.attributes(after: 16)
        guard
            let index = Netlink.integer(Int32.self, in: answer.payload, at: 4).flatMap({ UInt32(exactly: $0) }
            ),
            let flags = Netlink.integer(UInt32.self, in: answer.payload, at: 8),
            let mtu = attributes[Netlink.linkMTU].flatMap({ Netlink.integer(UInt32.self, in: $0, at: 0) })
        else { throw .malformedAnswer(request: what) }
        let kind = attributes[Netlink.linkInfo].flatMap {
            NetlinkMessage.attributes(in: $0)[Netlink.linkInfoKind]
        }
        return InterfaceState(
            index: index, name: name, mtu: mtu, isUp: flags & Netlink.interfaceUp != 0,
            kind: kind.map { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }

    /// Sets the device's MTU.
    mutating func setMTU(_ mtu: UInt32, ofLink index: UInt32) throws(NetlinkError) {
        var request = next(Netlink.newLink, flags: Netlink.flagAcknowledge, body: Self.linkBody(index: index))
        request.attribute(Netlink.linkMTU, mtu)
        _ = try exchange(request, what: "set the MTU \(mtu)", expectingDump: false)
    }

    /// Sets the device up.
    mutating func setUp(_ index: UInt32) throws(NetlinkError) {
        let request = next(
            Netlink.newLink, flags: Netlink.flagAcknowledge,
            body: Self.linkBody(index: index, flags: Netlink.interfaceUp, change: Netlink.interfaceUp))
        _ = try exchange(request, what: "set the device up", expectingDump: false)
    }

    /// Keeps the kernel from giving the device an IPv6 link-local address.
    mutating func disableIPv6Addresses(ofLink index: UInt32) throws(NetlinkError) {
        var request = next(Netlink.newLink, flags: Netlink.flagAcknowledge, body: Self.linkBody(index: index))
        let mode = Self.nested(Netlink.inet6AddressGenerationMode, [Netlink.addressGenerationNone])
        request.attribute(
            Netlink.linkAddressFamilySpecific, Self.nested(UInt16(Netlink.familyIPv6), mode))
        _ = try exchange(request, what: "turn IPv6 addresses off", expectingDump: false)
    }

    /// The IPv4 addresses of the device.
    mutating func addresses(ofLink index: UInt32) throws(NetlinkError) -> Set<AssignedAddress> {
        let request = next(
            Netlink.getAddress, flags: Netlink.flagDump,
            body: Self.addressBody(family: Netlink.familyIPv4, prefixLength: 0, index: 0))
        let answers = try exchange(request, what: "list addresses", expectingDump: true)
        var addresses: Set<AssignedAddress> = []
        for answer in answers where answer.type == Netlink.newAddress {
            guard Netlink.integer(UInt32.self, in: answer.payload, at: 4) == index,
                let prefix = Netlink.integer(UInt8.self, in: answer.payload, at: 1),
                let bytes = answer.attributes(after: 8)[Netlink.addressLocal],
                let address = VirtualAddress(bigEndian: bytes)
            else { continue }
            addresses.insert(AssignedAddress(address, prefixLength: prefix))
        }
        return addresses
    }

    /// Gives the device an address; no error when it has it.
    mutating func add(_ address: AssignedAddress, toLink index: UInt32) throws(NetlinkError) {
        let flags = Netlink.flagAcknowledge | Netlink.flagCreate | Netlink.flagReplace
        try change(address, Netlink.newAddress, flags, index, what: "add the address \(address.address)")
    }

    /// Takes an address off the device; no error when it has gone.
    mutating func remove(_ address: AssignedAddress, fromLink index: UInt32) throws(NetlinkError) {
        do {
            try change(
                address, Netlink.deleteAddress, Netlink.flagAcknowledge, index,
                what: "remove the address \(address.address)")
        } catch .refused(_, let errno) where errno == 99 {
            return  // EADDRNOTAVAIL
        }
    }

    private mutating func change(
        _ address: AssignedAddress, _ type: UInt16, _ flags: UInt16, _ index: UInt32, what: String
    ) throws(NetlinkError) {
        var request = next(
            type, flags: flags,
            body: Self.addressBody(
                family: Netlink.familyIPv4, prefixLength: address.prefixLength, index: index))
        request.attribute(Netlink.addressLocal, address.address.bigEndianBytes)
        request.attribute(Netlink.addressAddress, address.address.bigEndianBytes)
        _ = try exchange(request, what: what, expectingDump: false)
    }

    /// The IPv4 unicast routes of the main table that lead through the device.
    mutating func routes(ofLink index: UInt32) throws(NetlinkError) -> Set<AssignedRoute> {
        let request = next(
            Netlink.getRoute, flags: Netlink.flagDump,
            body: Self.routeBody(prefixLength: 0, table: 0, kind: 0))
        let answers = try exchange(request, what: "list routes", expectingDump: true)
        var routes: Set<AssignedRoute> = []
        for answer in answers where answer.type == Netlink.newRoute {
            let attributes = answer.attributes(after: 12)
            guard Netlink.integer(UInt8.self, in: answer.payload, at: 0) == Netlink.familyIPv4,
                let prefix = Netlink.integer(UInt8.self, in: answer.payload, at: 1),
                Netlink.integer(UInt8.self, in: answer.payload, at: 4) == Netlink.tableMain,
                attributes[Netlink.routeOutputInterface].flatMap({
                    Netlink.integer(UInt32.self, in: $0, at: 0)
                })
                    == index,
                let bytes = attributes[Netlink.routeDestination],
                let destination = VirtualAddress(bigEndian: bytes)
            else { continue }
            routes.insert(AssignedRoute(destination: destination, prefixLength: prefix))
        }
        return routes
    }

    /// Routes `subnet` through the device, from `source`.
    mutating func addRoute(
        to subnet: VirtualSubnet, from source: VirtualAddress, throughLink index: UInt32
    ) throws(NetlinkError) {
        var request = next(
            Netlink.newRoute, flags: Netlink.flagAcknowledge | Netlink.flagCreate | Netlink.flagReplace,
            body: Self.routeBody(
                prefixLength: UInt8(subnet.prefixLength), table: Netlink.tableMain, kind: Netlink.routeUnicast
            ))
        request.attribute(Netlink.routeDestination, subnet.network.bigEndianBytes)
        request.attribute(Netlink.routePreferredSource, source.bigEndianBytes)
        request.attribute(Netlink.routeOutputInterface, index)
        _ = try exchange(request, what: "route \(subnet)", expectingDump: false)
    }

    // MARK: - messages

    private mutating func next(_ type: UInt16, flags: UInt16, body: [UInt8]) -> NetlinkRequest {
        sequence &+= 1
        return NetlinkRequest(type: type, flags: flags, sequence: sequence, body: body)
    }

    /// Sends the request and gathers its answer: up to the acknowledgement, the end of a dump, or,
    /// for a lookup without acknowledgement, the one message.
    private func exchange(
        _ request: NetlinkRequest, what: String, expectingDump: Bool
    ) throws(NetlinkError) -> [NetlinkMessage] {
        try transport.send(request.bytes)
        var answers: [NetlinkMessage] = []
        // A dump of this size is no device of ours; the bound keeps memory finite.
        for _ in 0..<4096 {
            guard let messages = NetlinkMessage.parse(try transport.receive()) else {
                throw .malformedAnswer(request: what)
            }
            for message in messages where message.sequence == sequence {
                switch message.type {
                case Netlink.error:
                    guard let code = Netlink.integer(Int32.self, in: message.payload, at: 0), code <= 0 else {
                        throw .malformedAnswer(request: what)
                    }
                    if code == 0 { return answers }
                    throw .refused(request: what, errno: 0 &- code)
                case Netlink.done:
                    return answers
                default:
                    answers.append(message)
                    let wantsMore = expectingDump || request.isAcknowledged
                    if !wantsMore { return answers }
                }
            }
        }
        throw .malformedAnswer(request: what)
    }

    /// `ifinfomsg`.
    private static func linkBody(index: UInt32 = 0, flags: UInt32 = 0, change: UInt32 = 0) -> [UInt8] {
        [Netlink.familyUnspecified, 0, 0, 0] + Netlink.bytes(of: index) + Netlink.bytes(of: flags)
            + Netlink.bytes(of: change)
    }

    /// `ifaddrmsg`: family, prefix length, flags, scope (global), index.
    private static func addressBody(family: UInt8, prefixLength: UInt8, index: UInt32) -> [UInt8] {
        [family, prefixLength, 0, 0] + Netlink.bytes(of: index)
    }

    /// `rtmsg`: family, destination and source length, TOS, table, protocol, scope, type, flags.
    private static func routeBody(prefixLength: UInt8, table: UInt8, kind: UInt8) -> [UInt8] {
        let isNew = kind != 0
        return [
            Netlink.familyIPv4, prefixLength, 0, 0, table, isNew ? Netlink.protocolStatic : 0,
            isNew ? Netlink.scopeLink : 0, kind, 0, 0, 0, 0,
        ]
    }

    /// An attribute as the value of another one.
    private static func nested(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        var bytes = Netlink.bytes(of: UInt16(4 + value.count)) + Netlink.bytes(of: type) + value
        while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
        return bytes
    }
}

extension NetlinkRequest {
    /// Whether the kernel ends its answer with an acknowledgement.
    var isAcknowledged: Bool {
        Netlink.integer(UInt16.self, in: bytes[...], at: 6).map { $0 & Netlink.flagAcknowledge != 0 } ?? false
    }
}

extension VirtualAddress {
    /// The four octets, first one first.
    var bigEndianBytes: [UInt8] {
        [
            UInt8(rawValue >> 24), UInt8(rawValue >> 16 & 255), UInt8(rawValue >> 8 & 255),
            UInt8(rawValue & 255),
        ]
    }

    /// Reads four octets; nil when there are not exactly four.
    init?(bigEndian bytes: ArraySlice<UInt8>) {
        guard bytes.count == 4 else { return nil }
        self.init(rawValue: bytes.reduce(0) { $0 << 8 | UInt32($1) })
    }
}
