internal import Multiformats

extension DNSMessage {
    /// More entries than this in all sections together are refused: a real packet of ours or of
    /// another implementation holds at most ten.
    static let maximumEntries = 128

    /// Reads a packet. Work and memory are bounded by the packet's size: a name is followed through
    /// strictly falling pointers and at most 255 bytes, and data of unknown types is not kept. Bytes
    /// after the last record are ignored, as everyone does.
    init(parsing packet: [UInt8]) throws(DNSError) {
        var reader = DNSReader(packet)
        id = try reader.readUInt16()
        flags = try reader.readUInt16()
        let counts = (
            questions: Int(try reader.readUInt16()), answers: Int(try reader.readUInt16()),
            authority: Int(try reader.readUInt16()), additional: Int(try reader.readUInt16())
        )
        guard counts.questions + counts.answers + counts.authority + counts.additional <= Self.maximumEntries
        else {
            throw .tooManyRecords
        }
        for _ in 0..<counts.questions { questions.append(try reader.readQuestion()) }
        for _ in 0..<counts.answers { answers.append(try reader.readRecord()) }
        for _ in 0..<counts.authority { authority.append(try reader.readRecord()) }
        for _ in 0..<counts.additional { additional.append(try reader.readRecord()) }
    }
}

/// Walks over a packet. Unlike `ByteCursor` it can look back, which compressed names need.
private struct DNSReader {
    private let packet: [UInt8]
    private var offset = 0

    init(_ packet: [UInt8]) {
        self.packet = packet
    }

    mutating func readUInt8() throws(DNSError) -> UInt8 {
        guard offset < packet.count else { throw .truncated }
        defer { offset += 1 }
        return packet[offset]
    }

    mutating func readUInt16() throws(DNSError) -> UInt16 {
        UInt16(try readUInt8()) << 8 | UInt16(try readUInt8())
    }

    mutating func readUInt32() throws(DNSError) -> UInt32 {
        UInt32(try readUInt16()) << 16 | UInt32(try readUInt16())
    }

    mutating func readBytes(_ count: Int) throws(DNSError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= packet.count - offset else { throw .truncated }
        defer { offset += count }
        return packet[offset..<offset + count]
    }

    mutating func readQuestion() throws(DNSError) -> DNSQuestion {
        let name = try readName()
        let type = DNSRecordType(rawValue: try readUInt16())
        let field = try readUInt16()
        return DNSQuestion(
            name: name, type: type, recordClass: field & 0x7fff, wantsUnicast: field & 0x8000 != 0)
    }

    mutating func readRecord() throws(DNSError) -> DNSRecord {
        let name = try readName()
        let type = DNSRecordType(rawValue: try readUInt16())
        let field = try readUInt16()
        let timeToLive = try readUInt32()
        let length = Int(try readUInt16())
        guard length <= packet.count - offset else { throw .truncated }
        let end = offset + length
        let data = try readData(of: type, until: end)
        guard offset == end else { throw .badRecordData }
        return DNSRecord(
            name: name, recordClass: field & 0x7fff, cacheFlush: field & 0x8000 != 0, timeToLive: timeToLive,
            data: data)
    }

    private mutating func readData(of type: DNSRecordType, until end: Int) throws(DNSError) -> DNSRecordData {
        switch type {
        case .a:
            guard let address = IPv4Address(bytes: try readBytes(end - offset)) else { throw .badRecordData }
            return .a(address)
        case .aaaa:
            guard let address = IPv6Address(bytes: try readBytes(end - offset)) else { throw .badRecordData }
            return .aaaa(address)
        case .ptr:
            return .ptr(try readName())
        case .srv:
            return .srv(
                priority: try readUInt16(), weight: try readUInt16(), port: try readUInt16(),
                target: try readName())
        case .txt:
            var strings: [[UInt8]] = []
            while offset < end {
                let length = Int(try readUInt8())
                guard length <= end - offset else { throw .badRecordData }
                strings.append(Array(try readBytes(length)))
            }
            return .txt(strings)
        default:
            _ = try readBytes(end - offset)
            return .other(type)
        }
    }

    /// Reads a name and leaves the offset after its first part. Every pointer must point before the
    /// one that led to it, so there are no loops.
    mutating func readName() throws(DNSError) -> DNSName {
        var labels: [[UInt8]] = []
        var length = 1
        var position = offset
        var lowest = offset
        var followed = false
        while true {
            guard position < packet.count else { throw .truncated }
            let lead = packet[position]
            switch lead >> 6 {
            case 0:
                let next = position + 1 + Int(lead)
                guard next <= packet.count else { throw .truncated }
                if lead == 0 {
                    if !followed { offset = next }
                    guard let name = DNSName(labels: labels) else { throw .nameTooLong }
                    return name
                }
                length += 1 + Int(lead)
                guard length <= DNSName.maximumLength else { throw .nameTooLong }
                labels.append(Array(packet[position + 1..<next]))
                position = next
            case 3:
                guard position + 1 < packet.count else { throw .truncated }
                let target = Int(lead & 0x3f) << 8 | Int(packet[position + 1])
                guard target < lowest else { throw .badPointer }
                if !followed { offset = position + 2 }
                followed = true
                lowest = target
                position = target
            default:
                throw .badLabel
            }
        }
    }
}
