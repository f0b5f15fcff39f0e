#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The few things that a snapshot asks of a file system, apart so that tests and the simulator can
/// fail any of them and lose what was not synced.
package protocol FileLayer: Sendable {
    /// The whole content of a file of at most `limit` bytes, or nil when there is no such file.
    func read(_ path: String, limit: Int) throws(FileLayerError) -> [UInt8]?
    /// Creates the file, or empties it when it exists, with mode 0600, writes `bytes` and syncs them.
    mutating func writeAndSync(_ path: String, _ bytes: [UInt8]) throws(FileLayerError)
    /// Gives the file another name, in place of whatever has that name.
    mutating func rename(_ path: String, to other: String) throws(FileLayerError)
    /// Makes renames within the folder of `path` durable.
    mutating func syncFolder(of path: String) throws(FileLayerError)
}

/// What the system would not do: the step and its error number.
package struct FileLayerError: Error, Hashable, Sendable {
    /// A verb, such as "write".
    package let step: String
    package let code: Int32

    package init(step: String, code: Int32) {
        self.step = step
        self.code = code
    }
}

/// The kernel's files.
package struct SystemFiles: FileLayer {
    package init() {}

    package func read(_ path: String, limit: Int) throws(FileLayerError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw FileLayerError(step: "open", code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileLayerError(step: "examine", code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileLayerError(step: "read", code: EINVAL) }
        guard status.st_size <= limit else { throw FileLayerError(step: "read", code: EFBIG) }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: filled), $0.count - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileLayerError(step: "read", code: errno) }
            if count == 0 { break }
            filled += count
        }
        return Array(bytes.prefix(filled))
    }

    package mutating func writeAndSync(_ path: String, _ bytes: [UInt8]) throws(FileLayerError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileLayerError(step: "create", code: errno) }
        defer { close(descriptor) }
        // A file left over from a crash may have been made with other rights.
        guard fchmod(descriptor, 0o600) == 0 else {
            throw FileLayerError(step: "set the mode of", code: errno)
        }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                write(descriptor, $0.baseAddress?.advanced(by: written), $0.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileLayerError(step: "write", code: count == 0 ? ENOSPC : errno) }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw FileLayerError(step: "sync", code: errno) }
    }

    package mutating func rename(_ path: String, to other: String) throws(FileLayerError) {
        guard Glibc.rename(path, other) == 0 else { throw FileLayerError(step: "rename", code: errno) }
    }

    package mutating func syncFolder(of path: String) throws(FileLayerError) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileLayerError(step: "open the folder of", code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileLayerError(step: "sync the folder of", code: errno) }
    }
}
