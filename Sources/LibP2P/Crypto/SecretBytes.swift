internal import CSodium

/// Bytes that nobody else may learn: overwritten when the last owner lets go, kept out of
/// descriptions, compared in constant time.
package final class SecretBytes: @unchecked Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    // Unchecked because of the pointer alone: it is written in the initialisers, before anyone else
    // can hold the object, and only read afterwards, but for scratch memory that one function owns.
    private let storage: UnsafeMutablePointer<UInt8>

    package let count: Int

    /// Makes `count` bytes that `fill` writes; they are zero before.
    package init(count: Int, _ fill: (UnsafeMutablePointer<UInt8>) throws -> Void) rethrows {
        Sodium.start()
        self.storage = .allocate(capacity: max(count, 1))
        self.storage.initialize(repeating: 0, count: max(count, 1))
        self.count = count
        try fill(storage)
    }

    /// Copies `bytes`. The source stays as it is; prefer the initialiser that takes it over.
    package convenience init(copying bytes: some Collection<UInt8>) {
        let count = bytes.count
        self.init(count: count) { storage in
            _ = UnsafeMutableBufferPointer(start: storage, count: count).update(fromContentsOf: bytes)
        }
    }

    /// Takes `bytes` over: they are copied, overwritten with zeros and emptied.
    package convenience init(consuming bytes: inout [UInt8]) {
        self.init(copying: bytes)
        Crypto.zero(&bytes)
    }

    /// `count` bytes that nobody can guess.
    package static func random(count: Int) -> SecretBytes {
        SecretBytes(count: count) { randombytes_buf($0, count) }
    }

    deinit {
        sodium_memzero(storage, count)
        storage.deallocate()
    }

    /// Lends the bytes to `body`, which must not keep them.
    package func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: storage, count: count))
    }

    /// Lends the address of the bytes to `body`, which must not keep it and knows their count.
    func withPointer<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
        body(storage)
    }

    /// Lends the address of the bytes for writing, which is for scratch memory that nobody else has.
    func withUnsafeMutablePointer<Result>(_ body: (UnsafeMutablePointer<UInt8>) -> Result) -> Result {
        body(storage)
    }

    package static func == (left: SecretBytes, right: SecretBytes) -> Bool {
        guard left.count == right.count else { return false }
        return sodium_memcmp(left.storage, right.storage, left.count) == 0
    }

    package var description: String { "SecretBytes(\(count))" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Starts libsodium before its first use.
enum Sodium {
    private static let started: Bool = {
        // It fails only when the kernel gives no random bytes; no key can be made then.
        precondition(sodium_init() >= 0, "libsodium could not start: the system gives no random bytes")
        return true
    }()

    @inline(__always)
    static func start() {
        _ = started
    }
}
