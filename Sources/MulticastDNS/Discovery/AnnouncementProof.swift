internal import LibP2P

/// How a node proves in its announcement that it holds the network's secret: one more string of the TXT
/// record, `kairos=<nonce><code>`, before those with the addresses. Other implementations pass over strings
/// that do not begin with `dnsaddr=`.
///
/// The code is HMAC-SHA-256, cut to 128 bits, over the nonce and all other strings of the record as they are
/// on the wire; they hold the peer's ID and its addresses. So a proof cannot be taken for another peer or
/// for other addresses. Whoever sends the very same strings again only says once more what the node has
/// said. There is no time in it: at boot clocks may be wrong, and old addresses cost no more than a dial.
///
/// A proof is found and checked in the raw packet, before anything else of it is read: on a link full of
/// forged packets that takes a few microseconds for each.
struct AnnouncementProof: Sendable {
    /// The string with a proof that a packet holds, not checked yet.
    struct Claim: Sendable {
        /// The whole string.
        let text: ArraySlice<UInt8>
        /// The strings after it, each with its length before it.
        let body: ArraySlice<UInt8>
        /// Seconds.
        let timeToLive: UInt32
    }

    private static let prefix = Array("kairos=".utf8)
    private static let context = Array("kairos/mdns/1".utf8)
    /// Makes two runs of a node differ: the first characters of the random instance name.
    static let nonceLength = 12
    private static let codeLength = 16
    /// The length of the string in bytes.
    static let textLength = 7 + nonceLength + 2 * codeLength
    /// Longer packets hold no proof: this node's own are shorter than what every link carries.
    static let longestPacket = 1500

    private let key: SecretBytes

    init(key: SecretBytes) {
        self.key = key
    }

    /// The string that proves `strings`; nil when `nonce` is too short.
    func text(for strings: [[UInt8]], nonce: some StringProtocol) -> [UInt8]? {
        let nonce = nonce.utf8.prefix(Self.nonceLength)
        guard nonce.count == Self.nonceLength else { return nil }
        var body: [UInt8] = []
        for string in strings {
            body.append(UInt8(clamping: string.count))
            body += string.prefix(255)
        }
        return Self.prefix + nonce + code(nonce: nonce, body: body)
    }

    /// What a packet claims to prove; nil when it holds no such string at the beginning of a TXT record.
    static func claim(in packet: [UInt8]) -> Claim? {
        guard packet.count <= longestPacket else { return nil }
        // The header, a name of one byte, type, class, time to live and length come before the data.
        let start = packet.withUnsafeBufferPointer { bytes -> Int? in
            var index = 12 + 1 + 10
            while index + textLength < bytes.count {
                if bytes[index] == UInt8(textLength), matches(bytes, at: index + 1) { return index }
                index += 1
            }
            return nil
        }
        guard let start else { return nil }
        func number(_ offset: Int, _ count: Int) -> UInt32 {
            packet[(start - offset)..<(start - offset + count)].reduce(0) { $0 << 8 | UInt32($1) }
        }
        let end = start + Int(number(2, 2))
        let bodyStart = start + 1 + textLength
        guard number(10, 2) == DNSRecordType.txt.rawValue,
            number(8, 2) & 0x7fff == DNSRecord.internetClass, end >= bodyStart, end <= packet.count
        else { return nil }
        return Claim(
            text: packet[(start + 1)..<bodyStart], body: packet[bodyStart..<end], timeToLive: number(6, 4))
    }

    private static func matches(_ bytes: UnsafeBufferPointer<UInt8>, at start: Int) -> Bool {
        for offset in 0..<prefix.count where bytes[start + offset] != prefix[offset] { return false }
        return true
    }

    /// The strings that `claim` proves; nil when it does not.
    func check(_ claim: Claim) -> [[UInt8]]? {
        let rest = claim.text.dropFirst(Self.prefix.count)
        let expected = code(nonce: rest.prefix(Self.nonceLength), body: claim.body)
        guard Crypto.constantTimeEqual(rest.dropFirst(Self.nonceLength), expected) else { return nil }
        var strings: [[UInt8]] = []
        var left = claim.body
        while let length = left.popFirst() {
            guard left.count >= length else { return nil }
            strings.append(Array(left.prefix(Int(length))))
            left = left.dropFirst(Int(length))
        }
        return strings
    }

    /// The code in hexadecimal digits.
    private func code(nonce: some Collection<UInt8>, body: some Collection<UInt8>) -> [UInt8] {
        let message = Self.context + nonce + body
        return Crypto.hmacSHA256(key: key, message: message).prefix(Self.codeLength).flatMap { byte in
            [byte >> 4, byte & 15].map { $0 < 10 ? 48 + $0 : 87 + $0 }
        }
    }
}
