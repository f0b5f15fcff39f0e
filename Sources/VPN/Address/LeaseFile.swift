internal import Glibc
package import LibP2P

/// The file that brings a node's address back after a reboot, in EdgeVPN's format: the bare address
/// text, mode 0600 (contract L.3, kairos.md 3.1).
///
/// It is replaced whole, so a crash leaves the old or the new content. Content that is no address is
/// set aside under another name, never half-read.
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
    /// Throws `FileError` when the file is there and cannot be read or set aside.
    package func read() throws(FileError) -> Content {
        let bytes: [UInt8]?
        do throws(FileError) {
            bytes = try DurableFile.read(path, maximumLength: 32)
        } catch {
            // No file of ours: a folder, or something far too long.
            guard error.code == EINVAL || error.code == EFBIG else {
                if error.code == ENOTDIR { return .none }
                throw error
            }
            return try setAside()
        }
        guard let bytes else { return .none }
        var text = String(decoding: bytes, as: UTF8.self)
        if text.last == "\n" { text.removeLast() }
        guard let address = VirtualAddress(text) else { return try setAside() }
        return .address(address)
    }

    /// Replaces the lease and returns once it is on disk.
    ///
    /// Throws `FileError`; the old lease is then still in place.
    package func write(_ address: VirtualAddress) throws(FileError) {
        try DurableFile.write(Array(address.description.utf8), to: path)
    }

    /// Removes the lease; it is no error when there is none.
    package func remove() throws(FileError) {
        guard unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR else {
            throw FileError(action: "remove", path: path, code: errno)
        }
    }

    private func setAside() throws(FileError) -> Content {
        let aside = path + ".damaged"
        guard rename(path, aside) == 0 else {
            throw FileError(action: "set aside", path: path, code: errno)
        }
        return .setAside(aside)
    }
}
