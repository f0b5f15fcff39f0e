import TestSupport
import Testing
import Timing

@testable import MulticastDNS

@Suite("DNS messages")
struct DNSMessageTests {
    @Test("every captured packet decodes to its records")
    func capturedPackets() throws {
        for vector in try DNSVectors.load().cases {
            let payload = try #require(Hex.decode(vector.payload))
            let message = try DNSMessage(parsing: payload)
            #expect(message.id == vector.packet.id)
            #expect(message.isResponse == vector.packet.response)
            #expect((message.flags & 0x0400 != 0) == vector.packet.authoritative)
            #expect(message.opcode == 0 && message.responseCode == 0)
            #expect(message.questions.map(\.name.description) == vector.packet.questions.map(\.name))
            #expect(
                message.questions.allSatisfy { $0.type == .ptr && $0.recordClass == 1 && !$0.wantsUnicast })
            #expect(message.answers == vector.packet.answers.map { $0.parsed() })
            #expect(message.authority == vector.packet.authority.map { $0.parsed() })
            #expect(message.additional == vector.packet.additional.map { $0.parsed() })
        }
    }

    @Test("what the writer makes of a captured packet reads back the same and is no longer")
    func roundTrip() throws {
        for vector in try DNSVectors.load().cases {
            let payload = try #require(Hex.decode(vector.payload))
            let message = try DNSMessage(parsing: payload)
            let written = try message.encoded(maximumLength: 1472)
            #expect(try DNSMessage(parsing: written) == message)
            #expect(written.count <= payload.count)
        }
    }

    @Test("the query is that of the contract, byte for byte")
    func queryBytes() throws {
        let hex =
            "1234000000010000000000002b4d646e735461674d646e735461674d646e735461674d646e735461674d646e735461674d646e7354616735"
            + "056c6f63616c00000c0001"
        let parsed = try DNSMessage(parsing: try #require(Hex.decode(hex)))
        #expect(parsed.questions.first?.name.labels.first?.count == 43)
        #expect(Hex.encode(try parsed.encoded(maximumLength: 512)) == hex)
    }

    @Test("a name that points at itself, forwards or past the end is refused")
    func badPointers() {
        func packet(_ name: [UInt8]) -> [UInt8] {
            [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name + [0, 12, 0, 1]
        }
        let cases: [([UInt8], DNSError)] = [
            ([0xc0, 12], .badPointer), ([0xc0, 20], .badPointer), ([0xff, 0xff], .badPointer),
            ([1, 97, 0xc0, 12], .badPointer), ([0x40, 0], .badLabel), ([0x80, 0], .badLabel),
            ([63, 1, 2], .truncated),
        ]
        for (name, error) in cases {
            #expect(throws: error) { try DNSMessage(parsing: packet(name)) }
        }
    }

    @Test("a name of more than 255 bytes is refused, however it is put together")
    func longNames() {
        var name: [UInt8] = []
        for _ in 0..<4 { name += [63] + [UInt8](repeating: 97, count: 63) }
        #expect(throws: DNSError.nameTooLong) {
            try DNSMessage(parsing: [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name + [0, 0, 12, 0, 1])
        }
        #expect(DNSName(labels: Array(repeating: [UInt8](repeating: 97, count: 63), count: 4)) == nil)
        #expect(DNSName(labels: [[]]) == nil)
        #expect(DNSName(labels: [[UInt8](repeating: 97, count: 64)]) == nil)
    }

    @Test("a packet that claims more records than it can hold is refused before any is read")
    func tooManyRecords() {
        let header: [UInt8] = [0, 0, 0x84, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        #expect(throws: DNSError.tooManyRecords) { try DNSMessage(parsing: header) }
    }

    @Test("names differ by case, because the service's name does")
    func exactNames() {
        #expect(DNSName("Ab.local.") != DNSName("aB.local."))
        #expect(DNSName("ab.local") == DNSName("ab.local."))
    }

    @Test("no change of bytes makes the reader trap, and what it accepts it can write")
    func fuzz() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        let packets = try DNSVectors.load().cases.compactMap { Hex.decode($0.payload) }
        for round in 0..<20_000 {
            var packet = packets[round % packets.count]
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let index = Int.random(in: 0..<packet.count, using: &generator)
                packet[index] =
                    Bool.random(using: &generator) ? 0xc0 : UInt8.random(in: 0...255, using: &generator)
            }
            if Bool.random(using: &generator) {
                packet.removeLast(Int.random(in: 0..<packet.count, using: &generator))
            }
            guard let message = try? DNSMessage(parsing: packet) else { continue }
            guard let written = try? message.encoded(maximumLength: .max) else { continue }
            #expect((try? DNSMessage(parsing: written)) == message, "seed \(seed), round \(round)")
        }
    }
}
