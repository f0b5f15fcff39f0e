import Ledger
import LibP2P
import TestSupport
import Testing

@Suite("Signed entries")
struct SignedEntryTests {
    static let cases = (try? VectorCase.load("signed_entry.json")) ?? []

    private static func value(_ entry: VectorCase) throws -> [UInt8] {
        if entry.has("value") { return Array(try entry.text("value").utf8) }
        if entry.has("value_hex") { return try entry.hex("value_hex") }
        let repeated = try entry.nested("value_repeat")
        let unit = Array(try repeated.text("unit").utf8)
        return Array(repeatElement(unit, count: Int(try repeated.int("count"))).joined())
    }

    private static func entry(_ vector: VectorCase, signature: [UInt8]?) throws -> (EntryID, Entry) {
        let fields = try vector.nested("entry")
        let entry = Entry(
            value: LedgerText(repairing: try value(fields)), owner: try fields.text("owner"),
            version: try fields.unsigned("version"), updatedAt: try fields.int("updated_at"),
            isDeleted: try fields.bool("deleted"), signature: signature)
        return (EntryID(try fields.text("bucket"), try fields.text("key")), entry)
    }

    private static func identities() throws -> [String: Identity] {
        let file = try VectorCase([UInt8](Vectors.data("signed_entry.json")))
        var identities: [String: Identity] = [:]
        for key in try VectorCase.list(file.raw("keys")) {
            if let identity = try? Identity(privateKey: key.hex("private_key_protobuf")) {
                identities[try key.string("name")] = identity
            }
        }
        return identities
    }

    @Test("the vectors are there") func vectors() {
        #expect(Self.cases.count == 91)
    }

    @Test("canonical bytes, signature and JSON are Go's", arguments: cases.filter { $0.kind == "sign" })
    func signing(_ vector: VectorCase) throws {
        let signature = try vector.hex("signature")
        var (id, entry) = try Self.entry(vector, signature: signature)
        let canonical = CanonicalEntry.bytes(of: entry, at: id)
        if vector.has("canonical") {
            #expect(Hex.encode(canonical) == (try vector.string("canonical")))
        } else {
            #expect(Hex.encode(Crypto.sha256(canonical)) == (try vector.string("canonical_sha256")))
        }
        #expect(Base64.encode(signature) == (try vector.string("signature_base64")))
        #expect(entry.hasValidSignature(at: id))
        let json = entry.encoded()
        if vector.has("entry_json") {
            #expect(String(decoding: json, as: UTF8.self) == (try vector.string("entry_json")))
        } else {
            #expect(Hex.encode(Crypto.sha256(json)) == (try vector.string("entry_json_sha256")))
        }
        // Ours signs with Ed25519 alone, whose signatures are the same every time, and writes the
        // owner in the usual form.
        guard let identity = try Self.identities()[try vector.string("signer")],
            entry.owner.string == identity.peerID.description
        else { return }
        entry.sign(at: id, with: identity)
        #expect(entry.signature == signature)
    }

    @Test("an entry verifies exactly when Go says so", arguments: cases.filter { $0.kind == "verify" })
    func verifying(_ vector: VectorCase) throws {
        let signature = try vector.hex("signature")
        let fields = try vector.nested("entry")
        let value = try Self.value(fields)
        let (id, entry) = try Self.entry(vector, signature: signature)
        if Array(entry.value.utf8) == value {
            #expect(entry.hasValidSignature(at: id) == (try vector.bool("expected")))
        } else {
            // Such a value cannot come out of JSON, so entries do not hold it; the canonical bytes do.
            let bytes = CanonicalEntry.bytes(
                bucket: id.bucket.utf8, key: id.key.utf8, owner: entry.owner.utf8, version: entry.version,
                updatedAt: entry.updatedAt, isDeleted: entry.isDeleted, value: value)
            let key = try #require(Entry.publicKey(of: entry.owner))
            #expect(key.verify(signature, of: bytes) == (try vector.bool("expected")))
            #expect(!entry.hasValidSignature(at: id))
        }
    }

    @Test("an entry is written as Go writes it", arguments: cases.filter { $0.kind == "encode" })
    func encoding(_ vector: VectorCase) throws {
        let fields = try vector.nested("entry")
        let signature = fields.has("signature") ? try fields.hex("signature") : nil
        let entry = Entry(
            value: LedgerText(repairing: try Self.value(fields)), owner: try fields.text("owner"),
            version: try fields.unsigned("version"), updatedAt: try fields.int("updated_at"),
            isDeleted: try fields.bool("deleted"), signature: signature)
        let expected = try vector.string("entry_json")
        if expected.contains(#"\ufffd"#) {
            // Go escapes what it repairs; the mark itself is then the same text.
            var writer = JSONWriter()
            writer.string(contents: try Self.value(fields))
            #expect(expected.contains(String(decoding: writer.bytes, as: UTF8.self)))
        } else {
            #expect(String(decoding: entry.encoded(), as: UTF8.self) == expected)
        }
    }

    @Test("a value text is escaped as Go escapes it", arguments: cases.filter { $0.kind == "value" })
    func values(_ vector: VectorCase) throws {
        let value = LedgerText(repairing: try vector.hex("value_text_hex"))
        #expect(value == (try vector.text("value_text")))
        #expect(
            String(decoding: Entry(value: value).encoded(), as: UTF8.self)
                == (try vector.string("entry_json")))
    }

    @Test(
        "every entry of the three live ledgers verifies and the blocks hash to their hashes", arguments: 1...3
    )
    func liveLedgers(node: Int) throws {
        let block = try Block.decode([UInt8](Vectors.data("live/node\(node)/08-blockchain.json")))
        #expect(block.entryCount >= 10)
        for (id, entry) in block.entries { #expect(entry.hasValidSignature(at: id), "\(id)") }
        #expect(block.computedHash == block.hash)
    }
}
