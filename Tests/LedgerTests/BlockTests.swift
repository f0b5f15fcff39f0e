import Foundation
import Ledger
import TestSupport
import Testing
import Timing

@Suite("Blocks")
struct BlockTests {
    static let cases = (try? VectorCase.load("block.json")) ?? []

    @Test("the vectors are there") func vectors() {
        #expect(Self.cases.count == 66)
    }

    @Test("a block's JSON, hash input and hash are Go's", arguments: cases.filter { $0.kind == "block" })
    func knownBlocks(_ vector: VectorCase) throws {
        let json = Array(try vector.string("json").utf8)
        let block = try Block.decode(json)
        #expect(block.index == (try vector.int("index")))
        #expect(block.timestamp == (try vector.text("timestamp")))
        #expect(block.hash == (try vector.text("hash")))
        #expect(block.previousHash == (try vector.text("prev_hash")))
        #expect(Hex.encode(block.hashInput) == (try vector.string("hash_input_hex")))
        #expect(block.computedHash == (try vector.text("computed_hash")))
        #expect((block.computedHash == block.hash) == (try vector.bool("hash_matches")))
        // Null in place of an empty map says nothing more, and is not kept apart here.
        let written = String(decoding: json, as: UTF8.self).replacingOccurrences(of: "null", with: "{}")
        if vector.testDescription.contains("null") {
            #expect(String(decoding: block.encoded(), as: UTF8.self) == written)
        } else {
            #expect(block.encoded() == json)
        }
    }

    @Test("a block text decodes to what Go reads", arguments: cases.filter { $0.kind == "decode" })
    func decoding(_ vector: VectorCase) throws {
        let json = vector.has("json") ? Array(try vector.string("json").utf8) : try vector.hex("json_hex")
        let block = try Block.decode(json)
        #expect(block.index == (try vector.int("index")))
        #expect(block.timestamp == (try vector.text("timestamp")))
        #expect(block.hash == (try vector.text("hash")))
        #expect(block.previousHash == (try vector.text("prev_hash")))
        let expected = try Block.decode(Array(#"{"Storage":"#.utf8) + vector.raw("storage") + Array("}".utf8))
        #expect(block.normalized.storage == expected.storage)
    }

    @Test("a block text that Go refuses is refused", arguments: cases.filter { $0.kind == "error" })
    func refusals(_ vector: VectorCase) throws {
        let json = Array(try vector.string("json").utf8)
        #expect(throws: JSONError.self) { try Block.decode(json) }
    }

    @Test("a UTC moment has Go's text", arguments: cases.filter { $0.kind == "timestamp" })
    func timestamps(_ vector: VectorCase) throws {
        let text = try vector.string("text")
        guard text.hasSuffix("+0000 UTC") else { return }
        let time = UnixTime(seconds: try vector.int("unix")) + .nanoseconds(try vector.int("nanoseconds"))
        #expect(GoTime.timestamp(time).string == text)
        #expect(
            GoTime.parse(rfc3339: LedgerText(GoTime.rfc3339(time)))
                == UnixTime(seconds: try vector.int("unix")))
    }

    @Test(
        "a moment survives its text in any year that nanoseconds reach", arguments: [0, 1, 2, 3] as [UInt64])
    func momentRoundTrip(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let seconds = Int64.random(in: -9_000_000_000...9_000_000_000, using: &generator)
            let time = UnixTime(seconds: seconds)
            #expect(
                GoTime.parse(rfc3339: LedgerText(GoTime.rfc3339(time))) == time, "seed \(seed): \(seconds)")
        }
    }

    @Test("a block over a limit is refused before it is held")
    func limits() throws {
        let block = try #require(try? Block.decode(Array(#"{"Storage":{"a":{"k":"1","l":"2"}}}"#.utf8)))
        let json = block.encoded()
        #expect(throws: JSONError.tooLarge) { try Block.decode(json, limits: BlockLimits(maximumBytes: 10)) }
        #expect(throws: JSONError.tooLarge) { try Block.decode(json, limits: BlockLimits(maximumItems: 2)) }
        #expect(throws: Never.self) { try Block.decode(json, limits: BlockLimits(maximumItems: 3)) }
        let nested = Array((#"{"X":"# + String(repeating: "[", count: 100_000)).utf8)
        #expect(throws: JSONError.tooDeep(offset: 5 + 63)) { try Block.decode(nested) }
    }

    @Test("no text makes the decoder trap", arguments: [11, 12, 13] as [UInt64])
    func fuzz(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let seeds = try Self.cases.filter { $0.has("json") }.map { Array(try $0.string("json").utf8) }
        for _ in 0..<3000 {
            var text = seeds.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 0...4, using: &generator) where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: text[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: text.remove(at: place)
                default:
                    text.insert(
                        Array(#"{}[]",:\u0eE-.9"#.utf8).randomElement(using: &generator) ?? 0, at: place)
                }
            }
            guard let block = try? Block.decode(text) else { continue }
            // What was accepted is written and read again as the same block.
            #expect(try Block.decode(block.encoded()).storage == block.normalized.storage, "seed \(seed)")
        }
    }
}

extension Block {
    /// The block without what the wire form loses: the time of unsigned entries.
    var normalized: Block {
        var block = self
        block.storage = storage.mapValues { keys in
            keys.mapValues { entry in
                guard entry.isBare else { return entry }
                return Entry(value: entry.value)
            }
        }
        return block
    }
}
