/// The secret that lets nodes join the cluster, and that encrypts what a new server fetches
/// (contract/k3s.md §6). It never shows itself in a description.
package struct ClusterToken: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// The token itself. It belongs into files of mode 0600 and the sealed ledger, nowhere else.
    package let secret: String

    /// Takes `text`, without the newline with which files end.
    ///
    /// - Throws: `K3sConfigurationError.tokenMissing` when nothing is left, `.tokenMalformed` when it
    ///   holds white space or control characters.
    package init(_ text: String, for command: K3sCommand = .server) throws(K3sConfigurationError) {
        var bytes = Array(text.utf8)
        while let last = bytes.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") {
            bytes.removeLast()
        }
        guard !bytes.isEmpty else { throw .tokenMissing(command: command) }
        guard bytes.count <= 4096, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw .tokenMalformed }
        self.secret = String(decoding: bytes, as: UTF8.self)
    }

    private init(hex: String) {
        self.secret = hex
    }

    /// A new token: 32 random bytes as hex digits, from a generator fit for secrets.
    ///
    /// Hex digits alone have neither a bootstrap token's dot nor the `K` of the full form.
    package static func generate(
        using generator: inout some RandomNumberGenerator
    ) -> ClusterToken {
        var hex = ""
        for _ in 0..<4 {
            let word = String(generator.next() as UInt64, radix: 16)
            hex += String(repeating: "0", count: 16 - word.count) + word
        }
        return ClusterToken(hex: hex)
    }

    /// A new token from the kernel's randomness.
    package static func generate() -> ClusterToken {
        var generator = SystemRandomNumberGenerator()
        return generate(using: &generator)
    }

    /// Which of K3s' forms the token has.
    package var shape: TokenShape {
        var rest = Substring(secret)
        let full = secret.hasPrefix("K10")
        if full, let separator = Self.separator(in: rest) { rest = rest[separator...] }
        let parts = rest.split(separator: ".", omittingEmptySubsequences: false)
        if parts.count == 2, parts[0].utf8.count == 6, parts[1].utf8.count == 16,
            parts.allSatisfy({ $0.utf8.allSatisfy(Self.isLowerAlphanumeric) })
        {
            return .bootstrap
        }
        return full ? .full : .password
    }

    /// Whether `text` can be a token: printable ASCII without white space, 1024 bytes at most.
    package static func isSecret(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 1024 && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// The password in `text`, which is one or has the full form `K10<CA hash>::<user>:<password>`: what the
    /// first server is started with. Nil when there is none.
    package static func password(in text: String) -> String? {
        guard text.hasPrefix("K10") else { return isSecret(text) ? text : nil }
        guard let start = separator(in: Substring(text)) else { return nil }
        let credentials = text[start...]
        guard let colon = credentials.firstIndex(of: ":") else { return nil }
        let password = String(credentials[credentials.index(after: colon)...])
        return isSecret(password) ? password : nil
    }

    /// - Throws: `K3sConfigurationError.tokenUnfitForFounding` unless the first server takes it: there
    ///   is no CA yet with which to compare a full token.
    package func checkFounding() throws(K3sConfigurationError) {
        let shape = shape
        if shape != .password { throw .tokenUnfitForFounding(shape) }
    }

    /// - Throws: `K3sConfigurationError.tokenUnfitForServer` when only agents can join with it.
    package func checkJoiningServer() throws(K3sConfigurationError) {
        if shape == .bootstrap { throw .tokenUnfitForServer }
    }

    package var description: String { "<cluster token>" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Where the part behind `K10…::` begins.
    private static func separator(in text: Substring) -> Substring.Index? {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == ":", next < text.endIndex, text[next] == ":" { return text.index(after: next) }
            index = next
        }
        return nil
    }

    private static func isLowerAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
