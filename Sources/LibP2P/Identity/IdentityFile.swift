/// The file that keeps a node's key over restarts: the raw private key message, mode 0600, in a
/// folder of mode 0700 (contract/wire.md A.4, the same content as EdgeVPN's key cache).
package struct IdentityFile: Sendable {
    /// Where the file is.
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// The node's identity: the one in the file, or a new one that is on disk before this returns.
    ///
    /// A missing or empty file holds no key, so a new one is made. A file with other content is
    /// never overwritten: it may be all that is left of a key that peers know this node by.
    package func loadOrCreate() throws(IdentityFileError) -> Identity {
        if let identity = try load() { return identity }
        let identity = Identity.generate()
        try save(identity)
        return identity
    }

    /// The identity in the file; nil when the file is missing or empty.
    package func load() throws(IdentityFileError) -> Identity? {
        var bytes: [UInt8]
        do throws(FileError) {
            guard let content = try DurableFile.read(path, maximumLength: KeyMessage.maximumLength),
                !content.isEmpty
            else { return nil }
            bytes = content
            try DurableFile.restrictToOwner(path)
        } catch {
            throw .inaccessible(error)
        }
        defer { Crypto.zero(&bytes) }
        do throws(KeyError) {
            return try Identity(privateKey: bytes)
        } catch {
            throw .corrupt(path: path, error)
        }
    }

    /// Replaces the file's content.
    package func save(_ identity: Identity) throws(IdentityFileError) {
        var bytes = identity.privateKey
        defer { Crypto.zero(&bytes) }
        do throws(FileError) {
            try DurableFile.write(bytes, to: path)
        } catch {
            throw .inaccessible(error)
        }
    }
}

/// Why a node has no identity.
package enum IdentityFileError: Error, Hashable, CustomStringConvertible {
    /// The file holds something that is no Ed25519 private key.
    case corrupt(path: String, KeyError)
    /// The file could not be read or written.
    case inaccessible(FileError)

    package var description: String {
        switch self {
        case .corrupt(let path, let error):
            """
            \(path) holds no usable identity: \(error). Restore the file from a copy, or move it away and \
            restart: the node then makes a new identity and is a new peer to the others
            """
        case .inaccessible(let error):
            "the node's identity is not accessible: \(error). Check the disk and the owner of the file and its folder"
        }
    }
}
