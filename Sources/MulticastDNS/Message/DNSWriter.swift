internal import Multiformats

extension DNSMessage {
    /// The packet of this message. Owner names and the targets of PTR records are compressed; those
    /// of SRV records are not, as RFC 2782 asks and the other implementations do.
    ///
    /// - Parameter maximumLength: the most bytes the packet may have, so that it travels unfragmented.
    /// - Throws: `.messageTooLong` when it would have more.
    func encoded(maximumLength: Int) throws(DNSError) -> [UInt8] {
        var writer = DNSWriter()
        writer.append(id)
        writer.append(flags)
        for count in [questions.count, answers.count, authority.count, additional.count] {
            guard let field = UInt16(exactly: count) else { throw .tooManyRecords }
            writer.append(field)
        }
        for question in questions {
            writer.append(question.name, compressed: true)
            writer.append(question.type.rawValue)
            writer.append(question.recordClass | (question.wantsUnicast ? 0x8000 : 0))
        }
        for record in records { try writer.append(record) }
        guard writer.packet.count <= maximumLength else { throw .messageTooLong }
        return writer.packet
    }
}

private struct DNSWriter {
    private(set) var packet: [UInt8] = []
    /// Where each name, and each tail of one, was written whole.
    private var offsets: [ArraySlice<[UInt8]>: Int] = [:]

    mutating func append(_ value: UInt16) {
        packet.appendBigEndian(value)
    }

    mutating func append(_ name: DNSName, compressed: Bool) {
        var rest = name.labels[...]
        while let label = rest.first {
            if compressed, let offset = offsets[rest] {
                append(0xc000 | UInt16(truncatingIfNeeded: offset))
                return
            }
            // A pointer has 14 bits.
            if packet.count < 0x4000 { offsets[rest] = packet.count }
            packet.append(UInt8(truncatingIfNeeded: label.count))
            packet.append(contentsOf: label)
            rest = rest.dropFirst()
        }
        packet.append(0)
    }

    mutating func append(_ record: DNSRecord) throws(DNSError) {
        append(record.name, compressed: true)
        append(record.data.type.rawValue)
        append(record.recordClass | (record.cacheFlush ? 0x8000 : 0))
        packet.appendBigEndian(record.timeToLive)
        let lengthOffset = packet.count
        append(0)
        switch record.data {
        case .a(let address): packet.append(contentsOf: address.bytes)
        case .aaaa(let address): packet.append(contentsOf: address.bytes)
        case .ptr(let target): append(target, compressed: true)
        case .srv(let priority, let weight, let port, let target):
            append(priority)
            append(weight)
            append(port)
            append(target, compressed: false)
        case .txt(let strings):
            for string in strings {
                guard let length = UInt8(exactly: string.count) else { throw .badRecordData }
                packet.append(length)
                packet.append(contentsOf: string)
            }
            // RFC 6763, 6.1: a TXT record holds at least one string.
            if strings.isEmpty { packet.append(0) }
        case .other: throw .badRecordData
        }
        guard let length = UInt16(exactly: packet.count - lengthOffset - 2) else { throw .messageTooLong }
        packet[lengthOffset] = UInt8(length >> 8)
        packet[lengthOffset + 1] = UInt8(truncatingIfNeeded: length)
    }
}
