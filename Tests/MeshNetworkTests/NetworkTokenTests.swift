import LibP2P
import MeshNetwork
import TestSupport
import Testing
import Timing

@Suite("Network tokens")
struct NetworkTokenTests {
    static let cases: [TokenCase] = VectorFile.load("token.json")

    private static func expect(_ document: TokenDocument, equals fields: TokenCase.Fields) {
        #expect(document.dht.interval == fields.otp.dht.interval)
        #expect(document.dht.key == fields.otp.dht.key)
        #expect(document.dht.length == fields.otp.dht.length)
        #expect(document.crypto.interval == fields.otp.crypto.interval)
        #expect(document.crypto.key == fields.otp.crypto.key)
        #expect(document.crypto.length == fields.otp.crypto.length)
        #expect(document.room == fields.room)
        #expect(document.rendezvous == fields.rendezvous)
        #expect(document.mdns == fields.mdns)
        #expect(document.maximumMessageSize == fields.maxMessageSize)
    }

    @Test("the vectors are there") func vectors() {
        #expect(Self.cases.count == 87)
    }

    @Test("a token is written as stock generators write it", arguments: cases.filter { $0.kind == "emit" })
    func emitting(_ vector: TokenCase) throws {
        let document = try TokenDocument(token: try #require(vector.token))
        Self.expect(document, equals: try #require(vector.fields))
        // Go writes a text of several lines as a block; ours quotes it, which reads back the same.
        if vector.name.contains("punctuation") {
            #expect(try TokenDocument(yaml: document.yaml) == document)
        } else {
            #expect(document.yaml == vector.yaml)
            if let token = try? NetworkToken(validating: document) { #expect(token.text == vector.token) }
        }
    }

    @Test(
        "a token reads as it does for stock nodes",
        arguments: cases.filter { $0.kind == "decode" || $0.kind == "cli" })
    func decoding(_ vector: TokenCase) throws {
        if vector.name.contains("the same key twice") {
            // Deliberately stricter: whichever of the two was meant, nobody can know.
            #expect(throws: NetworkTokenError.duplicateKey("room")) {
                try TokenDocument(token: vector.token ?? "")
            }
            return
        }
        Self.expect(try TokenDocument(token: try #require(vector.token)), equals: try #require(vector.fields))
    }

    @Test(
        "a token that stock nodes refuse is refused, and why", arguments: cases.filter { $0.kind == "error" })
    func refusing(_ vector: TokenCase) throws {
        let error = #expect(throws: NetworkTokenError.self) { try TokenDocument(token: vector.token ?? "") }
        #expect((error == .notBase64) == (vector.errorClass == "base64"), "\(String(describing: error))")
    }

    @Test("a token with which a stock node would crash later is refused at once", arguments: cases)
    func validating(_ vector: TokenCase) throws {
        guard let runtime = vector.runtime, let text = vector.token, vector.fields != nil,
            !vector.name.contains("twice")
        else { return }
        let crashes = runtime.sealKeyPanics ?? runtime.rendezvousPanics
        let document = try TokenDocument(token: text)
        let token = try? NetworkToken(validating: document)
        if crashes != nil { #expect(token == nil) }
        if let token {
            #expect(crashes == nil)
            #expect(token.interval == document.crypto.interval)
            #expect(throws: Never.self) {
                try RoomSchedule(token).windows(at: UnixTime(seconds: 1_767_225_600))
            }
        }
    }

    @Test("every fault of a token has its own error")
    func faults() throws {
        let good = try NetworkToken.generate()
        func refuse(_ change: (inout TokenDocument) -> Void) throws -> NetworkTokenError? {
            var document = try TokenDocument(yaml: good.yaml)
            change(&document)
            return #expect(throws: NetworkTokenError.self) { try NetworkToken(validating: document) }
        }
        #expect(try refuse { $0.room = "" } == .missing(key: "room"))
        #expect(try refuse { $0.mdns = "" } == .missing(key: "mdns"))
        #expect(try refuse { $0.crypto.key = "" } == .missing(key: "otp.crypto.key"))
        #expect(
            try refuse {
                $0.dht.key = ""
                $0.rendezvous = ""
            } == .missing(key: "rendezvous"))
        #expect(try refuse { $0.crypto.interval = 0 } == .interval(key: "otp.crypto.interval", 0))
        #expect(try refuse { $0.dht.interval = -5 } == .interval(key: "otp.dht.interval", -5))
        #expect(try refuse { $0.crypto.length = 45 } == .length(key: "otp.crypto.length", 45))
        #expect(try refuse { $0.maximumMessageSize = 0 } == .messageSize(0))
        #expect(try refuse { $0.maximumMessageSize = 1 << 40 } == .messageSize(1 << 40))
        #expect(throws: NetworkTokenError.empty) { try NetworkToken("") }
        #expect(throws: NetworkTokenError.empty) { try NetworkToken(" \n") }
        #expect(throws: NetworkTokenError.tooLong(bytes: 20_000)) {
            try NetworkToken(String(repeating: "a", count: 20_000))
        }
        #expect(try NetworkToken("\n \(good.text)\n") == good)
    }

    @Test("texts made to exhaust a parser are refused cheaply")
    func bombs() throws {
        for yaml in [
            String(repeating: "[", count: 8000), String(repeating: "- ", count: 4000),
            "a: &a [x]\n" + (1..<20).map { "b\($0): [*a, *a, *a]\n" }.joined(),
        ] {
            #expect(throws: NetworkTokenError.notYAML(line: nil)) { try TokenDocument(yaml: yaml) }
        }
    }

    @Test("no text makes the reader trap", arguments: [21, 22] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let texts = Self.cases.compactMap(\.yaml).map { Array($0.utf8) }
        for _ in 0..<2000 {
            var text = texts.randomElement(using: &generator) ?? []
            for _ in 0..<3 where !text.isEmpty {
                let place = Int.random(in: 0..<text.count, using: &generator)
                text[place] =
                    Array("{}[]:-&*!|>'\"%@#?, \n\t\0a09\u{7F}".utf8).randomElement(using: &generator) ?? 0
            }
            _ = try? TokenDocument(yaml: String(decoding: text, as: UTF8.self))
        }
    }

    @Test("a generated token is like those of stock generators and never the same twice")
    func generating() throws {
        let never = try NetworkToken.generate()
        #expect(never.interval == .max)
        let document = try TokenDocument(token: never.text)
        for text in [
            document.dht.key, document.crypto.key, document.room, document.rendezvous, document.mdns,
        ] {
            #expect(text.utf8.count == 43)
            #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) })
        }
        #expect(document.maximumMessageSize == 20 << 20)
        #expect(document.crypto.length == 43 && document.dht.length == 43)
        let hourly = try NetworkToken.generate(rotation: .every(seconds: 3600))
        #expect(hourly.interval == 3600)
        #expect(hourly != never && hourly.tag != never.tag)
        #expect(try NetworkToken(never.text).tag == never.tag)
        #expect(throws: NetworkTokenError.self) { try NetworkToken.generate(rotation: .every(seconds: 0)) }
    }

    @Test("nothing that is printed shows the token")
    func hiding() throws {
        let token = try NetworkToken.generate()
        let room = try TokenDocument(token: token.text).room
        var dumped = "\(token) \(String(reflecting: token))"
        dump(token, to: &dumped)
        #expect(!dumped.contains(room) && !dumped.contains(token.text))
        for error in [
            NetworkTokenError.notBase64, .notYAML(line: 3), .wrongType(key: "room"),
            .missing(key: "otp.crypto.key"),
        ] {
            #expect(!error.description.contains(room))
        }
    }

    @Test("the lease file and the network's derived keys follow from the token")
    func derived() throws {
        // The vector token of contract J.1.
        var document = TokenDocument()
        document.dht = .init(interval: 9000, key: "DhtKeyDhtKeyDhtKeyDhtKeyDhtKeyDhtKeyDhtKey1", length: 43)
        document.crypto = .init(
            interval: 9000, key: "CryKeyCryKeyCryKeyCryKeyCryKeyCryKeyCryKey2", length: 43)
        document.room = "RoomKeyRoomKeyRoomKeyRoomKeyRoomKeyRoomKey3"
        document.rendezvous = "RdvKeyRdvKeyRdvKeyRdvKeyRdvKeyRdvKeyRdvKey4"
        document.mdns = "MdnsTagMdnsTagMdnsTagMdnsTagMdnsTagMdnsTag5"
        document.maximumMessageSize = 20_971_520
        let token = try NetworkToken(validating: document)
        #expect(try token.leaseFileName == "831bf1c42adece5031105ce7962ac3e5")
        #expect(token.derivedKey(for: "a") != token.derivedKey(for: "b"))
        #expect(token.derivedKey(for: "a").count == 32)
        document.room += "x"
        #expect(try NetworkToken(validating: document).derivedKey(for: "a") != token.derivedKey(for: "a"))
    }
}
