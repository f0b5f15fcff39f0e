internal import Ledger
package import LibP2P
package import Timing

/// A text that follows from a secret and the time and changes every `interval` seconds
/// (contract/wire.md J.2).
package struct OneTimePassword: Sendable {
    /// The secret's ASCII characters, used as they are.
    package let key: SecretBytes
    /// Seconds for which a text holds; the greatest 64-bit number for ever.
    package let interval: Int64
    /// Characters of the text, at most 44; 0 and less count as 6.
    package let length: Int

    package init(key: SecretBytes, interval: Int64, length: Int) {
        self.key = key
        self.interval = interval
        self.length = length
    }

    /// The number of the window that `time` lies in. A negative interval counts as a huge one, as it
    /// does for Go; nil when the interval is 0.
    package func counter(at time: UnixTime) -> UInt64? {
        counter(atSeconds: time.seconds)
    }

    /// The same for a moment in seconds since 1970, which reaches further than `UnixTime` does.
    package func counter(atSeconds seconds: Int64) -> UInt64? {
        guard interval != 0 else { return nil }
        return UInt64(max(0, seconds)) / UInt64(bitPattern: interval)
    }

    /// When the window numbered `counter` begins, or nil when that is after the year 2262.
    package func start(of counter: UInt64) -> UnixTime? {
        let (seconds, overflow) = counter.multipliedReportingOverflow(by: UInt64(bitPattern: interval))
        guard !overflow, seconds <= UInt64(UnixTime(nanoseconds: .max).seconds) else { return nil }
        return UnixTime(seconds: Int64(seconds))
    }

    /// The text of the window numbered `counter`: the first characters of the base64 of
    /// HMAC-SHA-256(key, counter as 8 bytes big-endian). Nil when `length` is over 44.
    package func text(counter: UInt64) -> [UInt8]? {
        guard length <= 44 else { return nil }
        let message = withUnsafeBytes(of: counter.bigEndian) { Array($0) }
        let mac = Crypto.hmacSHA256(key: key, message: message)
        return Array(Base64.encodedBytes(mac).prefix(length <= 0 ? 6 : length))
    }
}

/// MD5 as lower-case hex, the form of every name and key derived from a password (contract J.2).
enum DerivedName {
    /// The 32 characters of the digest of `text`.
    static func bytes(_ text: some Collection<UInt8>) throws(CryptoError) -> [UInt8] {
        HexText.encode(try Crypto.md5(Array(text)))
    }

    /// The same as a string.
    static func string(_ text: some Collection<UInt8>) throws(CryptoError) -> String {
        String(decoding: try bytes(text), as: Unicode.UTF8.self)
    }
}
