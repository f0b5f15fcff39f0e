#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The path of the API's unix socket: made ready before a server binds, given away when it stops.
package struct UnixSocket: Hashable, Sendable {
    /// Why a socket cannot be had at a path.
    package enum Problem: Error, Hashable, Sendable, CustomStringConvertible {
        /// The path is longer than the kernel's socket addresses.
        case pathTooLong(path: String, limit: Int)
        /// Another process listens there.
        case inUse(path: String)
        /// Something that is no socket is there.
        case notASocket(path: String)
        /// A system call failed.
        case system(path: String, call: String, number: Int32)

        package var description: String {
            switch self {
            case .pathTooLong(let path, let limit):
                "the socket's path \(path) has \(path.utf8.count) bytes and at most \(limit) are possible; use a"
                    + " shorter root directory"
            case .inUse(let path):
                "another process listens on \(path); stop the other agent first"
            case .notASocket(let path):
                "\(path) is there and is no socket; move it away"
            case .system(let path, let call, let number):
                "the socket \(path) cannot be made ready: \(call): \(SystemCall.text(of: number))"
            }
        }

        /// The code of sysexits(3) that says the most.
        package var exitCode: Int32 {
            switch self {
            case .pathTooLong: 78
            case .inUse: 69
            case .notASocket: 73
            case .system(_, _, let number):
                switch number {
                case EACCES, EPERM, EROFS: 77
                case ENOSPC, EDQUOT, EIO: 74
                default: 73
                }
            }
        }
    }

    /// What is added to the path while the socket is not open to others yet.
    static let stagingSuffix = ".new"
    /// The longest path: NIO takes 103 bytes, not the kernel's 107, and the suffix is to fit as well.
    static let maximumLength = 103 - stagingSuffix.utf8.count

    /// The socket's path.
    package let path: String
    /// Where the server binds. It moves to `path` once its mode is right, so that nobody else can ever
    /// connect in between.
    var stagingPath: String { path + Self.stagingSuffix }

    package init(path: String) {
        self.path = path
    }

    /// The socket of the agent whose files are under `root`: Kairos' tools look for it there (§6.1).
    package static func ofAgent(root: String) -> UnixSocket {
        UnixSocket(path: String(root.reversed().drop { $0 == "/" }.reversed()) + "/run/edgevpn-kairos.sock")
    }

    /// Makes the folder if it is missing, and removes a socket that nobody listens on.
    ///
    /// - Throws: `Problem` when a socket cannot be had there; what is there stays then.
    package func prepare() throws(Problem) {
        guard path.utf8.count <= Self.maximumLength else {
            throw .pathTooLong(path: path, limit: Self.maximumLength)
        }
        try makeFolder()
        try removeStale(path)
        try removeStale(stagingPath)
    }

    /// Makes the bound socket the owner's only, and puts it in its place.
    func publish() throws(Problem) {
        guard chmod(stagingPath, 0o600) == 0 else { throw problem("chmod") }
        guard rename(stagingPath, path) == 0 else { throw problem("rename") }
    }

    /// Removes the socket, unless somebody else has put another one there.
    func remove(ifInode inode: UInt64?) {
        unlink(stagingPath)
        guard let inode, self.inode == inode else { return }
        unlink(path)
    }

    /// The socket's identity on its file system.
    var inode: UInt64? {
        var status = stat()
        guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return nil }
        return UInt64(status.st_ino)
    }

    private func makeFolder() throws(Problem) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        let folder = String(path[..<slash])
        var status = stat()
        if stat(folder, &status) == 0 { return }
        guard mkdir(folder, 0o755) == 0 || errno == EEXIST else { throw problem("mkdir") }
    }

    private func removeStale(_ path: String) throws(Problem) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw problem("lstat")
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
        if try isAlive(path) { throw .inUse(path: path) }
        guard unlink(path) == 0 || errno == ENOENT else { throw problem("unlink") }
    }

    /// Whether somebody accepts connections there.
    private func isAlive(_ path: String) throws(Problem) -> Bool {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = socket(AF_UNIX, kind, 0)
        guard descriptor >= 0 else { throw problem("socket") }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // The length was checked, so the zero behind the path stays.
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result == 0 { return true }
        switch errno {
        case ECONNREFUSED, ENOENT: return false
        // Its queue is full: it is alive and busy.
        case EAGAIN, EINPROGRESS: return true
        default: throw problem("connect")
        }
    }

    private func problem(_ call: String) -> Problem {
        .system(path: path, call: call, number: errno)
    }
}

/// Small pieces around system calls.
enum SystemCall {
    /// The C library's sentence for an error number.
    static func text(of number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The content of a regular file of at most `limit` bytes; nil when there is none.
    static func content(of path: String, limit: Int) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= limit {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
        return nil
    }

    /// Puts a file with `content`, readable by its owner only, in the place of `path`; false when that fails.
    /// A reader sees the old content or the new one. It is not synchronised: a power failure may lose it.
    static func replace(_ path: String, with content: [UInt8]) -> Bool {
        let draft = path + ".new"
        unlink(draft)
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return false }
        var rest = content[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { break }
            rest = rest.dropFirst(count)
        }
        close(descriptor)
        guard rest.isEmpty, rename(draft, path) == 0 else {
            unlink(draft)
            return false
        }
        return true
    }
}
