internal import Ledger
package import LibP2P

/// The secret that makes a node a member: who holds it finds the network, reads its ledger and is
/// admitted (contract/wire.md J.1). A value is complete and valid; descriptions hide it.
package struct NetworkToken: Sendable {
    /// How often topics and keys change.
    package enum Rotation: Hashable, Sendable {
        /// Never, as Kairos' generators choose.
        case never
        /// Every so many seconds, 1 or more.
        case every(seconds: Int64)
    }

    /// The password of the names under which nodes look for one another in a DHT; nil when the
    /// rendezvous text itself is the name.
    package let rendezvousPassword: OneTimePassword?
    /// The password of the key that seals the ledger.
    package let sealPassword: OneTimePassword
    /// The password of the topic: the room's key, with the seal password's interval and length.
    package let topicPassword: OneTimePassword
    /// The fixed rendezvous name of tokens without a DHT key.
    package let rendezvousName: String
    /// The name under which nodes look for one another with mDNS.
    package let mdnsName: String
    /// The largest message of the room, in bytes.
    package let maximumMessageSize: Int
    /// The seconds between two rotations of topic and seal key.
    package var interval: Int64 { sealPassword.interval }

    private let document: SecretBytes

    /// Reads a token's text: base64 of YAML. White space around it is not part of it.
    package init(_ token: some StringProtocol) throws(NetworkTokenError) {
        var text = Substring(token)
        while let last = text.unicodeScalars.last, last.properties.isWhitespace {
            text.unicodeScalars.removeLast()
        }
        while let first = text.unicodeScalars.first, first.properties.isWhitespace {
            text.unicodeScalars.removeFirst()
        }
        try self.init(validating: TokenDocument(token: text))
    }

    /// Checks a token's document: everything that the network needs is there and makes sense.
    package init(validating document: TokenDocument) throws(NetworkTokenError) {
        guard !document.crypto.key.isEmpty else { throw .missing(key: "otp.crypto.key") }
        guard !document.room.isEmpty else { throw .missing(key: "room") }
        guard !document.mdns.isEmpty else { throw .missing(key: "mdns") }
        guard !document.dht.key.isEmpty || !document.rendezvous.isEmpty else {
            throw .missing(key: "rendezvous")
        }
        guard (1 << 10...64 << 20).contains(document.maximumMessageSize) else {
            throw .messageSize(document.maximumMessageSize)
        }
        let crypto = try Self.checked(document.crypto, name: "otp.crypto")
        let key = { (text: String) in SecretBytes(copying: Array(text.utf8)) }
        sealPassword = OneTimePassword(
            key: key(document.crypto.key), interval: crypto.interval, length: Int(crypto.length))
        topicPassword = OneTimePassword(
            key: key(document.room), interval: crypto.interval, length: Int(crypto.length))
        if document.dht.key.isEmpty {
            rendezvousPassword = nil
        } else {
            let dht = try Self.checked(document.dht, name: "otp.dht")
            // Discovery turns a length of 0 into 12 (the seal key's stays the library's 6).
            rendezvousPassword = OneTimePassword(
                key: key(document.dht.key), interval: dht.interval,
                length: dht.length == 0 ? 12 : Int(dht.length))
        }
        rendezvousName = document.rendezvous
        mdnsName = document.mdns
        maximumMessageSize = Int(document.maximumMessageSize)
        self.document = SecretBytes(copying: Array(document.yaml.utf8))
        // Everything derived goes through MD5; better to know now than at the first rotation.
        do {
            _ = try DerivedName.bytes([])
        } catch {
            throw .digestUnavailable
        }
    }

    private static func checked(
        _ password: TokenDocument.Password, name: String
    ) throws(NetworkTokenError) -> TokenDocument.Password {
        guard password.interval >= 1 else { throw .interval(key: name + ".interval", password.interval) }
        guard (0...44).contains(password.length) else {
            throw .length(key: name + ".length", password.length)
        }
        return password
    }

    /// Makes a token of random secrets.
    package static func generate(
        rotation: Rotation = .never, maximumMessageSize: Int = 20 << 20
    ) throws(NetworkTokenError) -> NetworkToken {
        let interval: Int64 =
            switch rotation {
            case .never: .max
            case .every(let seconds): seconds
            }
        var document = TokenDocument()
        document.dht = TokenDocument.Password(interval: interval, key: randomText(), length: 43)
        document.crypto = TokenDocument.Password(interval: interval, key: randomText(), length: 43)
        document.room = randomText()
        document.rendezvous = randomText()
        document.mdns = randomText()
        document.maximumMessageSize = Int64(maximumMessageSize)
        return try NetworkToken(validating: document)
    }

    /// 43 characters that nobody can guess, of the letters and digits that stock generators draw from.
    private static func randomText() -> String {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890".utf8)
        var text: [UInt8] = []
        while text.count < 43 {
            // 62 · 4 values of a byte fall evenly on the alphabet; the rest is thrown away.
            for byte in Crypto.randomBytes(64) where byte < 248 && text.count < 43 {
                text.append(alphabet[Int(byte) % alphabet.count])
            }
        }
        return String(decoding: text, as: Unicode.UTF8.self)
    }

    /// The document's YAML text, secrets included.
    package var yaml: String {
        document.withUnsafeBytes { String(decoding: $0, as: Unicode.UTF8.self) }
    }

    /// The token's text, secrets included: what is put into the cloud-config.
    package var text: String {
        document.withUnsafeBytes { Base64.encode(Array($0)) }
    }

    /// The name of the lease file that remembers this network's address (contract L.3).
    package var leaseFileName: String {
        get throws(CryptoError) {
            try DerivedName.string(sealPassword.key.withUnsafeBytes { Array($0) } + Array("-ek".utf8))
        }
    }

    /// A key for `purpose` that follows from all of the token's secrets and not from the time.
    package func derivedKey(for purpose: String) -> SecretBytes {
        var secrets: [UInt8] = []
        for key in [sealPassword.key, topicPassword.key] + (rendezvousPassword.map { [$0.key] } ?? []) {
            withUnsafeBytes(of: UInt64(key.count).bigEndian) { secrets.append(contentsOf: $0) }
            key.withUnsafeBytes { secrets.append(contentsOf: $0) }
        }
        return Crypto.hkdfSHA256(
            secret: SecretBytes(consuming: &secrets), salt: Array("kairos/network".utf8),
            info: Array(purpose.utf8), count: 32)
    }

    /// The key with which members prove what they announce on a link (`ServiceDiscovery`).
    package var announcementKey: SecretBytes { derivedKey(for: "mdns/1") }

    /// 32 bytes that tell this network from others without giving anything of the token away: the
    /// mark of its snapshots.
    package var tag: [UInt8] {
        derivedKey(for: "tag").withUnsafeBytes { Array($0) }
    }
}

extension NetworkToken: Equatable {
    package static func == (left: NetworkToken, right: NetworkToken) -> Bool {
        left.document == right.document
    }
}

extension NetworkToken: CustomStringConvertible, CustomReflectable {
    package var description: String { "NetworkToken(hidden)" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}
