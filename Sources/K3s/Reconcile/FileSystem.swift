package import Timing

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Why a file could not be read, written or removed.
package struct FileError: Error, Hashable, Sendable {
    /// The file or folder.
    package let path: String
    /// The call that failed.
    package let operation: String
    /// The errno(3).
    package let code: Int32

    package init(path: String, operation: String, code: Int32) {
        self.path = path
        self.operation = operation
        self.code = code
    }

    /// The failure as a sentence.
    package var cause: String {
        "cannot \(operation) \(path): \(String(cString: strerror(code)))"
    }

    /// What the operator can do about it.
    package var remedy: String {
        switch code {
        case ENOSPC, EDQUOT: "free space on the disk"
        case EROFS: "mount the file system for writing, or make the folder persistent"
        case EACCES, EPERM: "run the agent as root"
        case EXDEV, EBUSY: "it is a mount point: unmount it, or mount the folder above it"
        case ENOTDIR, EISDIR: "remove what stands in its place"
        default: "check the disk"
        }
    }
}

/// What there is at a path.
package enum FileState: Hashable, Sendable {
    case missing
    /// A file, with its content and the permission bits of its mode.
    case regular(content: String, mode: UInt16)
    /// Something else, or something unreadable; a file of ours is put in its place if that is possible.
    case other
}

/// Reading and writing files so that none is ever half-written: the new content beside the old, on
/// disk, and then in its place.
package enum FileSystem {
    /// Files larger than this are not ours and not K3s' either.
    private static let largest = 1 << 20

    /// What there is at `path`.
    package static func state(of path: String) -> FileState {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return errno == ENOENT ? .missing : .other }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            let content = content(descriptor, size: Int(status.st_size))
        else { return .other }
        return .regular(content: content, mode: UInt16(truncatingIfNeeded: status.st_mode & 0o7777))
    }

    /// The content of a user's file, links followed; nil when there is none that can be read.
    package static func content(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return content(descriptor, size: Int(status.st_size))
    }

    private static func content(_ descriptor: Int32, size: Int) -> String? {
        guard size <= largest else { return nil }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while bytes.count <= largest {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 {
                return String(validating: bytes, as: UTF8.self) ?? String(decoding: bytes, as: UTF8.self)
            }
            bytes += buffer[..<count]
        }
        return nil
    }

    /// Puts `content` at `path` with mode 0600, making its folders.
    package static func write(_ content: String, to path: String) throws(FileError) {
        let (folder, name) = split(path)
        if let failure = makeFolders(folder) { throw failure }
        // Neither K3s nor systemd reads a file of this name.
        let new = folder + "/." + name + ".new"
        unlink(new)
        let descriptor = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw FileError(path: path, operation: "write", code: errno) }
        var failure: Int32 = fchmod(descriptor, 0o600) == 0 ? 0 : errno
        var bytes = Array(content.utf8)[...]
        while failure == 0, !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 { bytes = bytes.dropFirst(count) } else if errno != EINTR { failure = errno }
        }
        if failure == 0, fsync(descriptor) != 0 { failure = errno }
        if close(descriptor) != 0, failure == 0 { failure = errno }
        if failure == 0, rename(new, path) != 0 { failure = errno }
        guard failure == 0 else {
            unlink(new)
            throw FileError(path: path, operation: "write", code: failure)
        }
        syncFolder(folder)
    }

    /// Removes the file at `path`, if there is one.
    package static func remove(_ path: String) throws(FileError) {
        guard unlink(path) != 0 else { return syncFolder(split(path).folder) }
        if errno == ENOENT || errno == ENOTDIR { return }
        throw FileError(path: path, operation: "remove", code: errno)
    }

    /// Renames what is at `path` to `path` + `suffix`, or to that with a number where there already is
    /// something: nothing is ever replaced. A folder's entries named in `keeping` stay where they are.
    ///
    /// - Returns: the new path; nil when there was nothing to rename.
    @discardableResult
    package static func setAside(_ path: String, suffix: String, keeping: Set<String> = []) throws(FileError)
        -> String?
    {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw FileError(path: path, operation: "look at", code: errno)
        }
        let isFolder = status.st_mode & S_IFMT == S_IFDIR
        let entries = isFolder && !keeping.isEmpty ? names(in: path).filter { !keeping.contains($0) } : []
        if isFolder, !keeping.isEmpty, entries.isEmpty { return nil }
        // An empty file or folder of our own holds the name; rename(2) replaces nothing else.
        let place = try reserve(path + suffix, asFolder: isFolder)
        if entries.isEmpty {
            guard rename(path, place) == 0 else {
                let code = errno
                _ = isFolder ? rmdir(place) : unlink(place)
                throw FileError(path: path, operation: "set aside", code: code)
            }
        } else {
            for name in entries where rename(path + "/" + name, place + "/" + name) != 0 {
                throw FileError(path: path + "/" + name, operation: "set aside", code: errno)
            }
            syncFolder(place)
            syncFolder(path)
        }
        syncFolder(split(path).folder)
        return place
    }

    /// Makes an empty file or folder under a name that nothing has.
    private static func reserve(_ wanted: String, asFolder: Bool) throws(FileError) -> String {
        for number in 1...1000 {
            let place = number == 1 ? wanted : wanted + ".\(number)"
            if asFolder {
                if mkdir(place, 0o700) == 0 { return place }
            } else {
                let descriptor = open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
                if descriptor >= 0 {
                    close(descriptor)
                    return place
                }
            }
            if errno != EEXIST { throw FileError(path: place, operation: "make", code: errno) }
        }
        throw FileError(path: wanted, operation: "make", code: EEXIST)
    }

    /// When what is at `path` last changed, or, when there is nothing, its folder.
    package static func changed(_ path: String) -> UnixTime? {
        var status = stat()
        guard lstat(path, &status) == 0 || lstat(split(path).folder, &status) == 0 else { return nil }
        return UnixTime(seconds: Int64(status.st_mtim.tv_sec)) + .nanoseconds(Int64(status.st_mtim.tv_nsec))
    }

    /// By what a file is known to be another one, or to have another text.
    package struct Stamp: Hashable, Sendable {
        fileprivate let numbers: [Int64]
    }

    /// The stamp of the file at `path`, nil where there is none.
    package static func stamp(of path: String) -> Stamp? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Stamp(numbers: [
            Int64(truncatingIfNeeded: status.st_dev), Int64(truncatingIfNeeded: status.st_ino),
            Int64(status.st_size), Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec),
        ])
    }

    /// Makes the folder at `path` and those above it.
    @discardableResult
    package static func makeFolders(_ path: String) -> FileError? {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/" + part
            if mkdir(made, 0o755) != 0, errno != EEXIST {
                let code = errno
                // On a read-only file system mkdir says so even for a folder that exists.
                var status = stat()
                if stat(made, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { continue }
                return FileError(path: made, operation: "make the folder", code: code)
            }
        }
        return nil
    }

    /// The names of the files in `folder`, sorted by bytes; none when it is not there.
    package static func names(in folder: String) -> [String] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream), names.count < 1000 {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Whether there is anything at `path`.
    package static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    /// Whether there is a program at `path`.
    package static func isProgram(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }

    private static func split(_ path: String) -> (folder: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    /// Without it a crash could undo a rename. Some file systems cannot and need not.
    private static func syncFolder(_ folder: String) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }
}
