#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// A log that is started anew, with the old one kept beside it, when it has grown large. A disk that
/// takes nothing loses the log and nothing else.
final class LogFile {
    /// The size at which the next file is begun.
    private static let largest = 8 << 20

    private let path: String
    private var descriptor: Int32
    private var size: Int

    /// Opens the file at `path` for appending; nil when it cannot be.
    init?(path: String) {
        self.path = path
        (self.descriptor, self.size) = Self.open(path)
        if descriptor < 0 { return nil }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Appends `bytes`.
    func append(_ bytes: ArraySlice<UInt8>) {
        if size >= Self.largest {
            close(descriptor)
            rename(path, path + ".1")
            (descriptor, size) = Self.open(path)
        }
        guard descriptor >= 0 else { return }
        let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        size += max(0, written)
    }

    private static func open(_ path: String) -> (descriptor: Int32, size: Int) {
        if let slash = path.lastIndex(of: "/") { FileSystem.makeFolders(String(path[..<slash])) }
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else { return (descriptor, 0) }
        return (descriptor, Int(status.st_size))
    }
}
