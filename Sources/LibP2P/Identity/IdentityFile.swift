/// The file that keeps a node's key over restarts: the raw private key message, mode 0600, in a
/// folder of mode 0700 (contract/wire.md A.4, the same content as EdgeVPN's key cache).
package struct IdentityFile: Sendable {
    /// Where the file is.
    package let path: String

    package init(path: String) {
        self.path = path
    }

    /// An identity, and whether it was made a moment ago.
    package struct Loaded: Sendable {
        package let identity: Identity
        package let isNew: Bool
    }

    /// The node's identity: the one in the file, or a new one that is on disk before this returns.
    ///
    /// A new one is made where the file is missing or empty and nothing says that this node ever had a key:
    /// `traces` names the files that do, and is told whether the file is there. Where there are any, and where
    /// the file holds something else, nothing is changed: it may be all that is left of a key that peers know this
    /// node by, and a node that silently becomes another one gives up its place, its votes and its data.
    package func loadOrCreate(
        traces: (_ fileExists: Bool) -> [String] = { _ in [] }
    ) throws(IdentityFileError) -> Loaded {
        if let identity = try load() { return Loaded(identity: identity, isNew: false) }
        let exists: Bool
        do throws(FileError) {
            exists = try DurableFile.read(path, maximumLength: KeyMessage.maximumLength) != nil
        } catch {
            throw .inaccessible(error)
        }
        let found = traces(exists)
        guard found.isEmpty else { throw .lost(path: path, isEmpty: exists, besides: found) }
        let identity = Identity.generate()
        try save(identity)
        return Loaded(identity: identity, isNew: true)
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
    /// The file is missing or empty, but these others say that this node has had a key.
    case lost(path: String, isEmpty: Bool, besides: [String])
    /// The file could not be read or written.
    case inaccessible(FileError)

    package var description: String {
        switch self {
        case .corrupt(let path, let error):
            """
            \(path) holds no usable identity: \(error). Restore the file from a copy; or, to set the node up \
            anew, as another member that has to join again, remove the folder that it is in
            """
        case .lost(let path, let isEmpty, let found):
            """
            \(path) is \(isEmpty ? "empty" : "missing"), and this node has had a key: there is \
            \(found.prefix(8).joined(separator: ", "))\(found.count > 8 ? " and more" : ""). Nothing was changed. \
            Restore the key from a copy; or, to set the node up anew, as another member that has to join again, \
            remove \(path) and all of these
            """
        case .inaccessible(let error):
            "the node's identity is not accessible: \(error). Check the disk and the owner of the file and its folder"
        }
    }
}
