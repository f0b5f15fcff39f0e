/// The protocol names that ALPN carries (contract/wire.md D.3): the muxers, best first, then
/// `libp2p`, which leaves the muxer for later.
package enum TLSProtocolNames {
    private static let libp2p = "libp2p"

    /// The list as it is sent: each name with its length, one byte, in front.
    package static func encode(muxers: [ProtocolID]) -> [UInt8] {
        var bytes: [UInt8] = []
        for name in muxers.map(\.rawValue) + [libp2p] {
            guard let length = UInt8(exactly: name.utf8.count), length > 0 else { continue }
            bytes.append(length)
            bytes += name.utf8
        }
        return bytes
    }

    /// Where in the client's `list` the name is that a listener with `muxers` takes: the first that is
    /// one of its muxers, else `libp2p`; nil when neither is there or the list is malformed.
    package static func select(from list: some RandomAccessCollection<UInt8>, muxers: [ProtocolID]) -> Range<
        Int
    >? {
        var fallback: Range<Int>?
        var rest = list[...]
        var offset = 0
        while let length = rest.popFirst().map(Int.init) {
            guard length > 0, rest.count >= length else { return nil }
            let name = String(decoding: rest.prefix(length), as: UTF8.self)
            let range = (offset + 1)..<(offset + 1 + length)
            if muxers.contains(where: { $0.rawValue == name }) { return range }
            if name == libp2p, fallback == nil { fallback = range }
            rest = rest.dropFirst(length)
            offset = range.upperBound
        }
        return fallback
    }

    /// The muxer that the chosen `name` stands for; nil when it is yet to be negotiated, also with a
    /// peer that has chosen nothing.
    package static func muxer(chosen name: some Collection<UInt8>) -> ProtocolID? {
        let text = String(decoding: name, as: UTF8.self)
        return text.isEmpty || text == libp2p ? nil : ProtocolID(rawValue: text)
    }
}
