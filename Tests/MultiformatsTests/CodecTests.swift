import Multiformats
import TestSupport
import Testing
import Timing

@Suite("Numbers, bases and hashes")
struct CodecTests {
    @Test(
        "a varint is written in its shortest form and reads back",
        arguments: [
            (0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (255, "ff01"), (300, "ac02"), (16384, "808001"),
            (UInt64(Int64.max), "ffffffffffffffff7f"), (UInt64.max, "ffffffffffffffffff01"),
        ])
    func uvarint(value: UInt64, hex: String) throws {
        #expect(Hex.encode(Uvarint.encode(value)) == hex)
        #expect(Uvarint.encodedLength(of: value) == hex.count / 2)
        var cursor = ByteCursor(Uvarint.encode(value))
        #expect(try cursor.readProtobufVarint() == value)
        #expect(cursor.isAtEnd)
        var strict = ByteCursor(Uvarint.encode(value))
        if value <= UInt64(Int64.max) {
            #expect(try strict.readUvarint() == value)
        } else {
            #expect(throws: WireError.varintTooLong) { try strict.readUvarint() }
        }
    }

    @Test("a varint that is too long, not minimal or cut short is refused")
    func badUvarints() {
        func read(_ hex: String) throws -> UInt64 {
            var cursor = ByteCursor(Hex.decode(hex) ?? [])
            return try cursor.readUvarint()
        }
        #expect(throws: WireError.varintNotMinimal) { try read("8000") }
        #expect(throws: WireError.varintNotMinimal) { try read("ff80808000") }
        #expect(throws: WireError.varintTooLong) { try read("80808080808080808001") }
        #expect(throws: WireError.truncated(needed: 2, available: 1)) { try read("80") }
        #expect(throws: WireError.truncated(needed: 1, available: 0)) { try read("") }
        var protobuf = ByteCursor(Hex.decode("ffffffffffffffffff02") ?? [])
        #expect(throws: WireError.varintTooLong) { try protobuf.readProtobufVarint() }
        var lenient = ByteCursor(Hex.decode("8000") ?? [])
        #expect(throws: Never.self) { try lenient.readProtobufVarint() }
    }

    @Test("a cursor yields what is there and refuses what is not")
    func cursor() throws {
        var cursor = ByteCursor(try #require(Hex.decode("0102030405060708090a0b0c0d0e0f")))
        #expect(try cursor.readUInt8() == 1)
        #expect(try cursor.readUInt16() == 0x0203)
        #expect(try cursor.readUInt32() == 0x0405_0607)
        #expect(try cursor.readUInt16LittleEndian() == 0x0908)
        #expect(try cursor.readBytes(2) == [0x0a, 0x0b])
        #expect(throws: WireError.truncated(needed: 8, available: 4)) { try cursor.readUInt64() }
        #expect(throws: WireError.truncated(needed: 5, available: 4)) { try cursor.readBytes(5) }
        #expect(throws: WireError.truncated(needed: -1, available: 4)) { try cursor.readBytes(-1) }
        #expect(throws: WireError.truncated(needed: .max, available: 4)) { try cursor.readBytes(UInt64.max) }
        #expect(throws: WireError.trailingBytes(4)) { try cursor.expectEnd() }
        #expect(cursor.readRest() == [0x0c, 0x0d, 0x0e, 0x0f])
        try cursor.expectEnd()
    }

    @Test(
        "the texts of the multibase specification's example",
        arguments: [
            (
                Multibase.base2,
                "001111001011001010111001100100000011011010110000101101110011010010010000000100001"
            ),
            (.base16, "f796573206d616e692021"), (.base16upper, "F796573206D616E692021"),
            (.base32hex, "vf5in683dc5n6i811"), (.base32, "bpfsxgidnmfxgsibb"),
            (.base32upper, "BPFSXGIDNMFXGSIBB"),
            (.base32pad, "cpfsxgidnmfxgsibb"), (.base36, "k2lcpzo5yikidynfl"),
            (.base36upper, "K2LCPZO5YIKIDYNFL"),
            (.base58flickr, "Z7Pznk19XTTzBtx"), (.base58btc, "z7paNL19xttacUY"),
            (.base64, "meWVzIG1hbmkgIQ"), (.base64pad, "MeWVzIG1hbmkgIQ=="), (.base64url, "ueWVzIG1hbmkgIQ"),
        ])
    func multibaseExamples(base: Multibase, text: String) throws {
        let bytes = Array("yes mani !".utf8)
        #expect(base.encode(bytes) == text)
        #expect(try Multibase.decode(text) == bytes)
    }

    @Test("every base gives back what it wrote, leading zeros included", arguments: Multibase.allCases)
    func multibaseRoundTrip(base: Multibase) throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for length in 0..<70 {
            var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            for index in 0..<min(length, length % 4) { bytes[index] = 0 }
            #expect(try Multibase.decode(base.encode(bytes)) == bytes, "seed \(seed)")
        }
    }

    @Test("texts that no bytes have are refused")
    func badTexts() {
        #expect(throws: MultibaseError.unknownBase) { try Multibase.decode("") }
        #expect(throws: MultibaseError.unknownBase) { try Multibase.decode("?abc") }
        #expect(throws: MultibaseError.invalidCharacter) { try Multibase.decode("z0") }
        #expect(throws: MultibaseError.invalidCharacter) { try Multibase.decode("fé") }
        #expect(throws: MultibaseError.invalidLength) { try Multibase.decode("fa") }
        #expect(throws: MultibaseError.invalidLength) { try Multibase.decode("bab") }
        #expect(throws: MultibaseError.invalidLength) { try Multibase.decode("Meg=") }
        #expect(throws: MultibaseError.invalidCharacter) { try Multibase.decode("Me=g=") }
        #expect(throws: MultibaseError.tooLong) {
            try Multibase.decode("z" + String(repeating: "2", count: 513))
        }
    }

    @Test("fields of a protobuf message read in order, and damaged messages are refused")
    func protobuf() throws {
        var bytes: [UInt8] = []
        bytes.appendProtobuf(field: 1, varint: 300)
        bytes.appendProtobuf(field: 2, bytes: Array("abc".utf8))
        bytes += [0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0]
        var fields = ProtobufFields(bytes)
        #expect(try fields.next()?.varint() == 300)
        #expect(try fields.next()?.text() == "abc")
        #expect(try fields.next()?.value == .fixed32(1))
        #expect(try fields.next()?.value == .fixed64(2))
        #expect(try fields.next() == nil)

        func readAll(_ hex: String) throws {
            var fields = ProtobufFields(Hex.decode(hex) ?? [])
            while try fields.next() != nil {}
        }
        #expect(throws: WireError.wrongWireType(field: 0)) { try readAll("0001") }
        #expect(throws: WireError.wrongWireType(field: 1)) { try readAll("0b0c") }
        #expect(throws: WireError.self) { try readAll("0a05616263") }
        #expect(throws: WireError.self) { try readAll("0affffffffffffffffff01") }
    }

    @Test("random bytes never break a decoder")
    func fuzz() {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 0..<80, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            var fields = ProtobufFields(bytes)
            while let field = try? fields.next() { _ = try? field.text() }
            if let multihash = try? Multihash(bytes: bytes) {
                #expect(multihash.bytes == bytes, "seed \(seed)")
            }
            if let cid = try? CID(bytes: bytes) { #expect(cid.bytes == bytes, "seed \(seed)") }
            for base in Multibase.allCases {
                _ = try? Multibase.decode(String(base.prefix) + String(decoding: bytes, as: UTF8.self))
            }
        }
    }
}
