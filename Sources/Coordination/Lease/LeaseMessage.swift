internal import Multiformats
internal import Timing

/// One message of `/kairos/lease/1.0.0`: 36 bytes, integers big endian.
///
///     kind 1 · resource 1 · flags 1 · zero 1 · number 8 · term 8 · nonce 8 · milliseconds 4 · checksum 4
///
/// The fixed length is the framing, so a stream needs no other. The last field repeats the first four
/// bytes inverted: a stream that lost its frame is closed rather than misread.
package struct LeaseMessage: Hashable, Sendable {
    package enum Kind: UInt8, Hashable, Sendable {
        /// Asks for a grant, or to renew one.
        case request = 1
        case grant = 2
        case deny = 3
        /// Gives a grant back, and everything older than its term.
        case release = 4
    }

    package let kind: Kind
    package let resource: LeaseResource
    /// In a request: the sender holds the resource at this moment.
    package let isHeld: Bool
    /// The number of the sender's newest decree.
    package let number: UInt64
    /// Of a request, grant or release: the term that it is about. Of a denial: the highest seen.
    package let term: UInt64
    /// Chosen by who asks, repeated by who answers.
    package let nonce: UInt64
    /// In a request: how long the sender will believe the grant. In a denial: how long it stays so.
    package let milliseconds: UInt32

    package static let length = 36
    /// Terms and decree numbers beyond are refused.
    package static let highestTerm = WireCounter.greatest
    /// The longest lease that a grantor grants, in milliseconds.
    package static let longestLease: UInt32 = 60_000

    package init(
        kind: Kind, resource: LeaseResource, isHeld: Bool = false, number: UInt64, term: UInt64,
        nonce: UInt64, milliseconds: UInt32 = 0
    ) {
        self.kind = kind
        self.resource = resource
        self.isHeld = isHeld
        self.number = number
        self.term = term
        self.nonce = nonce
        self.milliseconds = milliseconds
    }

    /// The message's bytes.
    package var bytes: [UInt8] {
        let head: [UInt8] = [kind.rawValue, resource.rawValue, isHeld ? 1 : 0, 0]
        return head + Self.octets(number) + Self.octets(term) + Self.octets(nonce)
            + Self.octets(UInt64(milliseconds)).suffix(4) + head.map { ~$0 }
    }

    private static func octets(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * (7 - $0))) }
    }

    /// The message that `bytes` spell; nil when they are anything else, or when a value is out of range.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.length else { return nil }
        var cursor = ByteCursor(bytes)
        guard let kindByte = try? cursor.readUInt8(), let kind = Kind(rawValue: kindByte),
            let resourceByte = try? cursor.readUInt8(), let resource = LeaseResource(rawValue: resourceByte),
            let flags = try? cursor.readUInt8(), flags <= 1,
            let zero = try? cursor.readUInt8(), zero == 0,
            let number = try? cursor.readUInt64(), let term = try? cursor.readUInt64(),
            let nonce = try? cursor.readUInt64(), let milliseconds = try? cursor.readUInt32(),
            let check = try? cursor.readBytes(4), Array(check) == bytes.prefix(4).map({ ~$0 }),
            WireCounter(term) != nil, WireCounter(number) != nil,
            kind != .request || milliseconds <= Self.longestLease
        else { return nil }
        self.init(
            kind: kind, resource: resource, isHeld: flags == 1, number: number, term: term, nonce: nonce,
            milliseconds: milliseconds)
    }
}
