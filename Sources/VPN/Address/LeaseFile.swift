internal import Glibc

/// The file that brings a node's address back after a reboot, in EdgeVPN's format: the bare address
/// text, mode 0600 (contract L.3, kairos.md 3.1).
///
/// It is replaced whole (write new, fsync, rename, fsync directory), so a crash leaves the old or the
/// new content. Content that is no address is set aside under another name, never half-read.
package struct LeaseFile: Sendable {
    /// What was found where the lease should be.
    package enum Content: Hashable, Sendable {
        /// There is no lease.
        case none
        case address(VirtualAddress)
        /// The content was no address; the file is now at this path.
        case setAside(String)
    }

    /// The folder, created with mode 0700 when it is missing.
    package let directory: String
    /// The file's name: hex MD5 of `<otp.crypto.key>-ek`.
    package let name: String

    package init(directory: String, name: String) {
        self.directory = directory
        self.name = name
    }

    private var path: String { directory + "/" + name }

    /// Reads the lease. A trailing newline, as an editor leaves one, is accepted.
    ///
    /// Throws `LeaseFileError` when the file is there and cannot be read or set aside.
    package func read() throws(LeaseFileError) -> Content {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return .none }
            if errno == ELOOP { return try setAside() }
            throw LeaseFileError(action: "read", path: path, errno: errno)
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count >= 0 else {
            if errno == EISDIR { return try setAside() }
            throw LeaseFileError(action: "read", path: path, errno: errno)
        }
        var text = String(decoding: bytes[..<count], as: UTF8.self)
        if text.last == "\n" { text.removeLast() }
        guard let address = VirtualAddress(text) else { return try setAside() }
        return .address(address)
    }

    /// Replaces the lease and returns once it is on disk.
    ///
    /// Throws `LeaseFileError`; the old lease is then still in place.
    package func write(_ address: VirtualAddress) throws(LeaseFileError) {
        try createDirectory(directory)
        let temporary = directory + "/." + name + ".new"
        // A leftover of a crash; also keeps O_EXCL from following what someone else put there.
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw LeaseFileError(action: "create", path: temporary, errno: errno) }
        do {
            defer { close(descriptor) }
            let bytes = Array(address.description.utf8)
            guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
                let error = LeaseFileError(action: "write", path: temporary, errno: errno)
                unlink(temporary)
                throw error
            }
        }
        guard rename(temporary, path) == 0 else {
            let error = LeaseFileError(action: "replace", path: path, errno: errno)
            unlink(temporary)
            throw error
        }
        try synchronizeDirectory()
    }

    /// Removes the lease; it is no error when there is none.
    package func remove() throws(LeaseFileError) {
        guard unlink(path) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return }
            throw LeaseFileError(action: "remove", path: path, errno: errno)
        }
        try synchronizeDirectory()
    }

    private func setAside() throws(LeaseFileError) -> Content {
        let aside = path + ".damaged"
        guard rename(path, aside) == 0 else {
            throw LeaseFileError(action: "set aside", path: path, errno: errno)
        }
        return .setAside(aside)
    }

    private func synchronizeDirectory() throws(LeaseFileError) {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw LeaseFileError(action: "open", path: directory, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else {
            throw LeaseFileError(action: "synchronize", path: directory, errno: errno)
        }
    }

    /// Creates the folder and its parents.
    private func createDirectory(_ folder: String) throws(LeaseFileError) {
        if mkdir(folder, 0o700) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let slash = folder.lastIndex(of: "/"), slash > folder.startIndex else {
            throw LeaseFileError(action: "create", path: folder, errno: errno)
        }
        try createDirectory(String(folder[..<slash]))
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw LeaseFileError(action: "create", path: folder, errno: errno)
        }
    }
}

/// A failed operation on the lease file.
package struct LeaseFileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried: "read", "write".
    package let action: String
    package let path: String
    /// The system's error number.
    package let errno: Int32

    package var description: String { "cannot \(action) \(path): \(String(cString: strerror(errno)))" }

    /// What an operator can do about it.
    package var remedy: String {
        switch errno {
        case EROFS: "mount the file system of \(path) writable"
        case ENOSPC, EDQUOT: "free space on the file system of \(path)"
        case EACCES, EPERM: "run the agent as root, or give its user access to \(path)"
        default: "check the file system of \(path)"
        }
    }
}
