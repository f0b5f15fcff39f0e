internal import Multiformats

/// The type of a record, or of the records that a question asks for.
struct DNSRecordType: Hashable, Sendable, RawRepresentable {
    let rawValue: UInt16

    static let a = DNSRecordType(rawValue: 1)
    static let ptr = DNSRecordType(rawValue: 12)
    static let txt = DNSRecordType(rawValue: 16)
    static let aaaa = DNSRecordType(rawValue: 28)
    static let srv = DNSRecordType(rawValue: 33)
    /// In questions alone: records of every type.
    static let any = DNSRecordType(rawValue: 255)
}

/// What a DNS message asks.
struct DNSQuestion: Hashable, Sendable {
    var name: DNSName
    var type: DNSRecordType
    /// The class without its top bit: 1 is IN, 255 is any.
    var recordClass: UInt16 = DNSRecord.internetClass
    /// The class' top bit: the asker takes the answer by unicast (QU, RFC 6762, 5.4).
    var wantsUnicast = false
}

/// One resource record.
struct DNSRecord: Hashable, Sendable {
    static let internetClass: UInt16 = 1

    var name: DNSName
    /// The class without its top bit.
    var recordClass: UInt16 = DNSRecord.internetClass
    /// The class' top bit: this record replaces all others of its name and type (RFC 6762, 10.2).
    var cacheFlush = false
    /// Seconds; 0 says that the record is gone.
    var timeToLive: UInt32
    var data: DNSRecordData
}

/// What a record says, for the types that service discovery uses.
enum DNSRecordData: Hashable, Sendable {
    case a(IPv4Address)
    case aaaa(IPv6Address)
    case ptr(DNSName)
    case srv(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName)
    /// Character strings of at most 255 bytes each.
    case txt([[UInt8]])
    /// A type that nothing here reads; its data is not kept.
    case other(DNSRecordType)

    var type: DNSRecordType {
        switch self {
        case .a: .a
        case .aaaa: .aaaa
        case .ptr: .ptr
        case .srv: .srv
        case .txt: .txt
        case .other(let type): type
        }
    }
}

/// A DNS message as multicast DNS uses it (RFC 1035, 4.1; RFC 6762, 18).
struct DNSMessage: Hashable, Sendable {
    var id: UInt16 = 0
    /// The header's flags, as they are on the wire.
    var flags: UInt16 = 0
    var questions: [DNSQuestion] = []
    var answers: [DNSRecord] = []
    var authority: [DNSRecord] = []
    var additional: [DNSRecord] = []

    /// QR and AA.
    static let authoritativeResponseFlags: UInt16 = 0x8400
    /// QR alone: what the other implementations announce with (contract/wire.md G.5).
    static let announcementFlags: UInt16 = 0x8000

    var isResponse: Bool { flags & 0x8000 != 0 }
    var opcode: UInt16 { flags >> 11 & 15 }
    var responseCode: UInt16 { flags & 15 }
    /// The records of all sections: a receiver looks at them alike.
    var records: [DNSRecord] { answers + authority + additional }
}

/// Why a packet is no DNS message.
enum DNSError: Error, Hashable, Sendable {
    /// A field reaches past the end of the packet.
    case truncated
    /// A label's length byte has a form that does not exist.
    case badLabel
    /// A compression pointer does not point backwards, so following it might never end.
    case badPointer
    /// A name is longer than 255 bytes.
    case nameTooLong
    /// A record's data does not fill the length it states.
    case badRecordData
    /// The packet states more questions or records than a real one holds.
    case tooManyRecords
    /// A message does not fit into the size that the writer was given.
    case messageTooLong
}
