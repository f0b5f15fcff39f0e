import Foundation
import LibP2P
import NIOCore
import TestSupport
import Testing
import Timing

@Suite("yamux against the known answers")
struct YamuxVectorTests {
    struct File: Decodable { let cases: [Case] }

    struct Case: Decodable, CustomTestStringConvertible {
        let kind: String
        let name: String
        let bytes: String?
        let fields: Fields?
        let events: [Event]?
        let input: [Input]?
        let output: [Event]?
        let closed: Bool?
        var testDescription: String { name }
    }

    struct Fields: Decodable {
        let flags: [String]
        let length: UInt32
        let streamID: UInt32
        let type: String
        let version: Int

        enum CodingKeys: String, CodingKey {
            case flags, length, type, version
            case streamID = "stream_id"
        }
    }

    struct Event: Decodable {
        let event: String?
        let bytes: String?
        let from: String?
        let flags: [String]?
        let length: UInt32?
        let type: String?
        let streamID: UInt32?
        let payload: String?

        enum CodingKeys: String, CodingKey {
            case event, bytes, from, flags, length, type, payload
            case streamID = "stream_id"
        }
    }

    enum Input: Decodable {
        case hex(String)
        case zeros(header: String, count: Int)

        struct Zeros: Decodable {
            let header: String
            let zeroBytes: Int

            enum CodingKeys: String, CodingKey {
                case header
                case zeroBytes = "then_zero_bytes"
            }
        }

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                self = .hex(text)
            } else {
                let zeros = try Zeros(from: decoder)
                self = .zeros(header: zeros.header, count: zeros.zeroBytes)
            }
        }

        var bytes: ByteBuffer {
            get throws {
                switch self {
                case .hex(let text): return ByteBuffer(bytes: try #require(Hex.decode(text)))
                case .zeros(let header, let count):
                    var buffer = ByteBuffer(bytes: try #require(Hex.decode(header)))
                    buffer.writeRepeatingByte(0, count: count)
                    return buffer
                }
            }
        }
    }

    static func cases(_ kind: String) throws -> [Case] {
        try Vectors.load("yamux.json", as: File.self).cases.filter { $0.kind == kind }
    }

    static func header(_ type: String, _ flags: [String], _ id: UInt32, _ length: UInt32) throws
        -> YamuxHeader
    {
        let types: [String: YamuxHeader.FrameType] = [
            "data": .data, "window_update": .windowUpdate, "ping": .ping, "goaway": .goAway,
        ]
        let bits: [String: YamuxHeader.Flags] = ["SYN": .syn, "ACK": .ack, "FIN": .fin, "RST": .rst]
        var set: YamuxHeader.Flags = []
        for flag in flags { set.insert(try #require(bits[flag])) }
        return YamuxHeader(type: try #require(types[type]), flags: set, streamID: id, length: length)
    }

    @Test("headers decode to their fields and encode to their bytes")
    func headers() throws {
        let cases = try Self.cases("header")
        #expect(cases.count >= 18)
        for item in cases {
            let fields = try #require(item.fields)
            let expected = try Self.header(fields.type, fields.flags, fields.streamID, fields.length)
            var buffer = ByteBuffer(bytes: try #require(Hex.decode(item.bytes ?? "missing")))
            #expect(try YamuxHeader(reading: &buffer) == expected, "\(item.name)")
            var written = ByteBuffer()
            expected.write(to: &written)
            #expect(Hex.encode(written.readableBytesView) == item.bytes, "\(item.name)")
        }
    }

    @Test("a server answers fed frames as go-yamux does, however they are cut")
    func inputs() throws {
        let cases = try Self.cases("input")
        #expect(cases.count >= 20)
        for item in cases {
            for step in [1, 5, 12, 4096, Int.max] {
                var configuration = YamuxConfiguration()
                configuration.maximumUnreadBytes = .max
                var session = YamuxSession(role: .server, configuration: configuration)
                var written: [YamuxHeader] = []
                var isClosed = false
                for input in try #require(item.input) {
                    var bytes = try input.bytes
                    while bytes.readableBytes > 0 {
                        guard var piece = bytes.readSlice(length: min(step, bytes.readableBytes)) else {
                            break
                        }
                        session.receive(&piece, at: .zero)
                        while let output = session.next() {
                            switch output {
                            case .write(let header): written.append(header)
                            case .closed: isClosed = true
                            default: break
                            }
                        }
                    }
                }
                let expected = try (item.output ?? []).map { event in
                    try Self.header(
                        try #require(event.type), try #require(event.flags), try #require(event.streamID),
                        try #require(event.length))
                }
                #expect(written == expected, "\(item.name), cut by \(step)")
                #expect(isClosed == item.closed, "\(item.name), cut by \(step)")
            }
        }
    }

    @Test("the client's own frames replay into a server that answers as recorded")
    func transcripts() throws {
        let cases = try Self.cases("transcript")
        #expect(cases.count >= 8)
        for item in cases {
            // Either end's recorded frames are legal input for the other.
            for role in [YamuxSession.Role.client, .server] {
                let other = role == .client ? "server" : "client"
                var session = YamuxSession(role: role)
                session.start(at: .zero)
                // What the recorded end opened itself, we open too, so that the answers have a stream.
                let own = role == .client ? "client" : "server"
                var failure: YamuxError?
                var answers: [YamuxHeader] = []
                for event in try #require(item.events) {
                    guard let from = event.from, let type = event.type else { continue }
                    let header = try Self.header(
                        type, try #require(event.flags), try #require(event.streamID),
                        try #require(event.length))
                    if from == own {
                        if header.flags.contains(.syn), type == "window_update" {
                            #expect(try session.openStream(at: .zero) == header.streamID, "\(item.name)")
                        }
                        continue
                    }
                    #expect(from == other)
                    var bytes = ByteBuffer()
                    header.write(to: &bytes)
                    if header.type == .data { bytes.writeRepeatingByte(7, count: Int(header.length)) }
                    session.receive(&bytes, at: .zero)
                    while let output = session.next() {
                        switch output {
                        case .write(let header): answers.append(header)
                        case .closed(let error): failure = error
                        case .data(let id, let bytes):
                            session.consumed(bytes.readableBytes, on: id, at: .zero)
                        default: break
                        }
                    }
                }
                let goAway = item.events?.contains { $0.type == "goaway" && $0.from == other } ?? false
                if goAway {
                    guard case .remoteGoAway? = failure else {
                        Issue.record("\(item.name): \(String(describing: failure))")
                        continue
                    }
                } else {
                    #expect(failure == nil, "\(item.name)")
                }
                let syns = item.events?.filter { $0.from == other && ($0.flags ?? []).contains("SYN") } ?? []
                for syn in syns where syn.type == "window_update" {
                    #expect(
                        answers.contains { $0.streamID == syn.streamID && $0.flags == .ack }, "\(item.name)")
                }
            }
        }
    }

    @Test("70000 bytes leave in frames of at most 65524, and 300000 stop at the window")
    func cutting() throws {
        var configuration = YamuxConfiguration()
        configuration.maximumFramePayload = 65524
        func sizes(of count: Int) throws -> [Int] {
            var session = YamuxSession(role: .client, configuration: configuration)
            let id = try session.openStream(at: .zero)
            session.wantsToSend(count, on: id)
            var sizes: [Int] = []
            while let grant = session.nextGrant() {
                sizes.append(grant.maximumBytes)
                session.sent(grant.maximumBytes, under: grant)
            }
            return sizes
        }
        #expect(try sizes(of: 70000) == [65524, 4476])
        #expect(try sizes(of: 300_000) == [65524, 65524, 65524, 65524, 48])
    }
}
