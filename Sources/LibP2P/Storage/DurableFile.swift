#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Small files that hold state which must survive a power cut: always whole, either the old content
/// or the new.
package enum DurableFile {
    /// The content of the file at `path`; nil when there is no such file.
    ///
    /// Throws when it cannot be read, is no regular file, or is longer than `maximumLength` bytes.
    package static func read(_ path: String, maximumLength: Int) throws(FileError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileError("open", path)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError("examine", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError("read", path, code: EINVAL) }
        guard status.st_size <= maximumLength else { throw FileError("read", path, code: EFBIG) }
        // One byte more than the file has shows its end without the memory being moved, which would
        // leave copies of what may be a secret.
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
        var length = 0
        while true {
            let count = bytes.withUnsafeMutableBytes { buffer in
                systemRead(descriptor, buffer.baseAddress.map { $0 + length }, buffer.count - length)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError("read", path) }
            if count == 0 { break }
            length += count
            guard length <= maximumLength else { throw FileError("read", path, code: EFBIG) }
            // The file grew meanwhile.
            if length == bytes.count { bytes.append(contentsOf: repeatElement(0, count: 4096)) }
        }
        bytes.removeLast(bytes.count - length)
        return bytes
    }

    /// Makes `bytes` the content of the file at `path`, readable by its owner alone unless `mode`
    /// says otherwise: writes a new file beside it, syncs it, renames it over the old one and syncs
    /// the folder, which is made with mode 0700 if it is missing. When this returns, the content
    /// outlives a power cut; when it throws, the old content does.
    package static func write(
        _ bytes: some Collection<UInt8>, to path: String, mode: UInt32 = 0o600
    ) throws(FileError) {
        let folder = parent(of: path)
        try makeFolder(folder)
        // A fixed name: what a crash leaves behind is overwritten, not collected.
        let temporary = path + ".new"
        if unlink(temporary) != 0, errno != ENOENT { throw FileError("remove", temporary) }
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw FileError("create", temporary) }
        do throws(FileError) {
            // The process's umask must not decide who may read a file of state.
            guard fchmod(descriptor, mode) == 0 else { throw FileError("set the mode of", temporary) }
            try writeAll(Array(bytes), to: descriptor, path: temporary)
            guard fsync(descriptor) == 0 else { throw FileError("sync", temporary) }
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        guard close(descriptor) == 0, rename(temporary, path) == 0 else {
            let error = FileError("replace", path)
            unlink(temporary)
            throw error
        }
        try syncFolder(folder)
    }

    /// Makes the folder at `path`, and those above it, with mode 0700 where they are missing.
    package static func makeFolder(_ path: String) throws(FileError) {
        if mkdir(path, 0o700) == 0 {
            try syncFolder(parent(of: path))
            return
        }
        switch errno {
        case EEXIST: return
        case ENOENT where parent(of: path) != path:
            try makeFolder(parent(of: path))
            guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw FileError("create", path) }
            try syncFolder(parent(of: path))
        default: throw FileError("create", path)
        }
    }

    /// Gives the file at `path` the name `other`, in place of whatever has it, durably.
    package static func move(_ path: String, to other: String) throws(FileError) {
        guard rename(path, other) == 0 else { throw FileError("rename", path) }
        try syncFolder(parent(of: other))
    }

    /// Takes access away from group and others if they have any.
    package static func restrictToOwner(_ path: String) throws(FileError) {
        var status = stat()
        guard stat(path, &status) == 0 else { throw FileError("examine", path) }
        guard status.st_mode & 0o077 != 0 else { return }
        guard chmod(path, status.st_mode & 0o700) == 0 else { throw FileError("set the mode of", path) }
    }

    private static func writeAll(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(FileError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { systemWrite(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw FileError("write", path) }
            rest = rest.dropFirst(count)
        }
    }

    private static func syncFolder(_ path: String) throws(FileError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError("sync", path) }
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

// `DurableFile.read` hides the system's own function from the methods beside it.
private func systemRead(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
    read(descriptor, buffer, count)
}

private func systemWrite(_ descriptor: Int32, _ buffer: UnsafeRawPointer?, _ count: Int) -> Int {
    write(descriptor, buffer, count)
}

/// What the system would not do with a file.
package struct FileError: Error, Hashable, CustomStringConvertible {
    /// What was tried, such as "open".
    package let action: String
    package let path: String
    /// The system's error number.
    package let code: Int32

    /// An error with a number that a system call left.
    package init(action: String, path: String, code: Int32) {
        self.action = action
        self.path = path
        self.code = code
    }

    /// An error with the number that the system call just left in `errno`.
    init(_ action: String, _ path: String, code: Int32 = errno) {
        self.action = action
        self.path = path
        self.code = code
    }

    /// Whether it is a matter of who may do it, which no repair of the disk would change.
    package var isPermission: Bool { code == EACCES || code == EPERM }

    package var description: String {
        "cannot \(action) \(path): \(strerror(code).map { String(cString: $0) } ?? "error \(code)")"
    }
}
