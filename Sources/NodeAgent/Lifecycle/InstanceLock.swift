#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Keeps a second agent off the same root: an exclusive `flock` on a file in `/run`, which the
/// kernel releases when the process ends, however it ends.
package struct InstanceLock: ~Copyable {
    private let descriptor: Int32

    /// Why the lock was not taken.
    package enum Failure: Error, Hashable, CustomStringConvertible {
        /// Another agent holds it; its process ID, when the file says it.
        case held(path: String, by: Int?)
        /// The file cannot be opened or written.
        case unusable(path: String, reason: String)

        package var description: String {
            switch self {
            case .held(let path, let process):
                "another kairos-agent\(process.map { " (process \($0))" } ?? "") runs on this root and holds \(path);"
                    + " stop it first"
            case .unusable(let path, let reason): "\(path) cannot be locked: \(reason)"
            }
        }
    }

    /// Takes the lock at `path`, making the file and its directory (0755) when they are missing.
    package init(path: String) throws(Failure) {
        let directory = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        if !directory.isEmpty, mkdir(directory, 0o755) != 0, errno != EEXIST {
            throw .unusable(path: directory, reason: String(cString: strerror(errno)))
        }
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .unusable(path: path, reason: String(cString: strerror(errno))) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            let holder = Self.holder(descriptor)
            close(descriptor)
            if code == EWOULDBLOCK { throw .held(path: path, by: holder) }
            throw .unusable(path: path, reason: String(cString: strerror(code)))
        }
        // The number in the file only helps people; the lock does not depend on it.
        let text = Array("\(getpid())\n".utf8)
        _ = ftruncate(descriptor, 0)
        _ = text.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        self.descriptor = descriptor
    }

    private static func holder(_ descriptor: Int32) -> Int? {
        var buffer = [UInt8](repeating: 0, count: 32)
        let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        guard count > 0 else { return nil }
        return Int(String(decoding: buffer[..<count].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self))
    }

    deinit {
        close(descriptor)
    }
}
