internal import LibP2P

/// What K3s' own kubeconfig has for its administrator: where the server listens, its CA, and a client
/// certificate. Held for the length of one probe; the key is overwritten then.
struct AdminCredentials: Sendable {
    let host: String
    let port: UInt16
    let authority: [UInt8]
    let certificate: [UInt8]
    let key: SecretBytes

    /// Reads what a kubeconfig has; nil when it has not all of it.
    init?(_ kubeconfig: Kubeconfig) {
        let server = kubeconfig.server
        guard server.hasPrefix("https://"), let colon = server.lastIndex(of: ":"),
            let port = UInt16(server[server.index(after: colon)...]),
            let authority = kubeconfig.withValue(of: "certificate-authority-data", { Base64.decode($0) }),
            let certificate = kubeconfig.withValue(of: "client-certificate-data", { Base64.decode($0) }),
            let key = kubeconfig.withValue(of: "client-key-data", { Base64.decodeSecret($0) })
        else { return nil }
        var host = server[..<colon].dropFirst("https://".count)
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self.host = String(host)
        self.port = port
        self.authority = authority
        self.certificate = certificate
        self.key = key
    }
}

/// The usual base 64, in one line and with its padding.
enum Base64 {
    static func decode(_ text: Kubeconfig.Part) -> [UInt8]? {
        guard let count = count(of: text) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        return bytes.withUnsafeMutableBufferPointer { decode(text, into: $0) } ? bytes : nil
    }

    /// The same for what must leave no copy behind.
    static func decodeSecret(_ text: Kubeconfig.Part) -> SecretBytes? {
        guard let count = count(of: text) else { return nil }
        var isValid = false
        let secret = SecretBytes(count: count) { storage in
            isValid = decode(text, into: UnsafeMutableBufferPointer(start: storage, count: count))
        }
        return isValid ? secret : nil
    }

    /// How many bytes `text` spells; nil when it spells none.
    private static func count(of text: Kubeconfig.Part) -> Int? {
        guard !text.isEmpty, text.count.isMultiple(of: 4) else { return nil }
        let padding = text.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
        return text.count / 4 * 3 - padding
    }

    private static func decode(_ text: Kubeconfig.Part, into bytes: UnsafeMutableBufferPointer<UInt8>) -> Bool
    {
        var held: UInt32 = 0
        var bits = 0
        var index = 0
        let padding = text.count / 4 * 3 - bytes.count
        for byte in text.dropLast(padding) {
            guard let value = value(of: byte) else { return false }
            held = (held << 6 | UInt32(value)) & 0xFFFF
            bits += 6
            guard bits >= 8 else { continue }
            bits -= 8
            guard index < bytes.count else { return false }
            bytes[index] = UInt8(truncatingIfNeeded: held >> UInt32(bits))
            index += 1
        }
        return index == bytes.count
    }

    private static func value(of byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
