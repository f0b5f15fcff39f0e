#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What was found on disk at start.
package struct LoadedSnapshot: Hashable, Sendable {
    /// The stored ledger, or nil when there is none that can be used.
    package let block: Block?
    /// Why a stored file was not used, and where it is now.
    package let setAside: SetAsideSnapshot?

    package init(block: Block?, setAside: SetAsideSnapshot?) {
        self.block = block
        self.setAside = setAside
    }
}

/// A stored file that was not used.
package struct SetAsideSnapshot: Hashable, Sendable {
    package let problem: SnapshotProblem
    /// The name it has now, or nil when it could not be renamed.
    package let path: String?

    package init(problem: SnapshotProblem, path: String?) {
        self.problem = problem
        self.path = path
    }
}

/// Keeps the ledger in one file that is always whole: the new content is written beside it and
/// synced, takes its name, and the folder is synced. A kill or a power cut at any instant leaves the
/// old snapshot or the new one.
package struct SnapshotStore<Files: FileLayer>: Sendable {
    /// Where the snapshot is.
    package let path: String
    private let tag: [UInt8]
    private var files: Files

    /// A store in the file at `path`, whose folder exists, for the network that `tag` (32 bytes) names.
    package init(path: String, tag: [UInt8], files: Files) {
        self.path = path
        self.tag = tag
        self.files = files
    }

    /// Reads the snapshot back. A file that is torn, foreign, damaged or of another network is renamed
    /// to `<path>.set-aside` and reported, never half-read.
    ///
    /// Throws `SnapshotError` when the file is there but the system does not let it be read.
    package mutating func load() throws(SnapshotError) -> LoadedSnapshot {
        let bytes: [UInt8]?
        do {
            bytes = try files.read(path, limit: SnapshotFormat.maximumLength)
        } catch {
            // Something that is no regular file, or far too long, is no snapshot of ours.
            guard error.code == EFBIG || error.code == EINVAL || error.code == ELOOP else {
                throw Self.typed(error, path: path)
            }
            return LoadedSnapshot(block: nil, setAside: setAside(because: .foreign))
        }
        guard let bytes else { return LoadedSnapshot(block: nil, setAside: nil) }
        do {
            return LoadedSnapshot(block: try SnapshotFormat.decode(bytes, tag: tag), setAside: nil)
        } catch {
            return LoadedSnapshot(block: nil, setAside: setAside(because: error))
        }
    }

    /// Makes `block` the snapshot. When this returns it survives a power cut; when it throws
    /// `SnapshotError` the old snapshot is still there.
    package mutating func save(_ block: Block) throws(SnapshotError) {
        let bytes = SnapshotFormat.encode(block, tag: tag)
        guard bytes.count <= SnapshotFormat.maximumLength else { throw .tooLarge(bytes: bytes.count) }
        let new = path + ".new"
        do {
            try files.writeAndSync(new, bytes)
            try files.rename(new, to: path)
            try files.syncFolder(of: path)
        } catch {
            throw Self.typed(error, path: path)
        }
    }

    private mutating func setAside(because problem: SnapshotProblem) -> SetAsideSnapshot {
        let other = path + ".set-aside"
        do {
            try files.rename(path, to: other)
            try files.syncFolder(of: path)
            return SetAsideSnapshot(problem: problem, path: other)
        } catch {
            return SetAsideSnapshot(problem: problem, path: nil)
        }
    }

    private static func typed(_ error: FileLayerError, path: String) -> SnapshotError {
        switch error.code {
        case ENOSPC, EDQUOT: .diskFull(path: path)
        case EROFS: .readOnly(path: path)
        case EACCES, EPERM: .permission(path: path)
        default: .failed(step: error.step, path: path, code: error.code)
        }
    }
}
