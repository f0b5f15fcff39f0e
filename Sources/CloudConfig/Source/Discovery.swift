#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Which cloud-config files a node has, in the order in which they are merged (contract/kairos.md §1.5).
package struct Discovery: Sendable {
    /// The directories that are scanned when none is named; a later one overrides an earlier one.
    ///
    /// Kairos has two orders: its `start` command reads only `/oem` and then `/usr/local/cloud-config`,
    /// every other command reads these four with `/oem` last. This is the order of the majority, for all
    /// commands: what `config`, `validate` and `install` show is then what the node runs, and `/oem`, which
    /// survives a reset of the persistent partition and is where the installer writes, has the last word.
    package static let defaultDirectories = [
        "/run/initramfs/live", "/etc/kairos", "/usr/local/cloud-config", "/oem",
    ]
    /// Files beyond this number in one scan are an error: a scan is bounded.
    package static let maximumFiles = 1000
    /// How deep the walk of one directory goes.
    package static let maximumDepth = 32

    /// The directories that are scanned, in order, with the root already in front.
    package let directories: [String]
    private let explicit: Bool

    /// Scans the default directories under `root`, or `directories` as they are given when there are any.
    package init(root: String = "/", directories: [String] = []) {
        explicit = !directories.isEmpty
        if explicit {
            self.directories = directories
        } else {
            let prefix = String(root.reversed().drop { $0 == "/" }.reversed())
            self.directories = Self.defaultDirectories.map { prefix + $0 }
        }
    }

    /// What a scan found.
    package struct Result: Sendable {
        /// The files to merge, earlier ones first.
        package var files: [SourceFile] = []
        /// What was left out, and why.
        package var warnings: [ConfigurationProblem] = []
    }

    /// Reads every cloud-config of the directories.
    ///
    /// As Kairos does, files with another extension are passed over, and files that are too large or have
    /// no header are left out with a warning. A file that is meant (it has a header) and cannot be read is
    /// an error: a node must not come up with half of its configuration.
    ///
    /// - Throws: `ConfigurationFailure` with every file that is unreadable or not UTF-8, and every directory
    ///   that was named and is not there.
    package func scan() throws(ConfigurationFailure) -> Result {
        var result = Result()
        var problems: [ConfigurationProblem] = []
        var count = 0
        for directory in directories {
            let root = SourcePosition(file: directory, line: 1, column: 1)
            if explicit, let reason = Self.whyNotADirectory(directory) {
                problems.append(ConfigurationProblem(.unreadable(reason: reason), at: root))
                continue
            }
            for path in Self.walk(directory, problems: &problems) {
                guard path.hasSuffix(".yaml") || path.hasSuffix(".yml") else { continue }
                count += 1
                guard count <= Self.maximumFiles else {
                    problems.append(ConfigurationProblem(.tooManyFiles(limit: Self.maximumFiles), at: root))
                    throw ConfigurationFailure(problems)
                }
                do {
                    result.files.append(try SourceFile(reading: path))
                } catch {
                    switch error.kind {
                    case .missingHeader, .tooLarge: result.warnings.append(error)
                    default: problems.append(error)
                    }
                }
            }
        }
        guard problems.isEmpty else { throw ConfigurationFailure(problems) }
        return result
    }

    /// The files under `directory`, in the lexical order of a recursive walk. Links to files are followed,
    /// links to directories are not, so a walk ends. What is not there is empty; what is there and cannot be
    /// read is a problem.
    private static func walk(
        _ directory: String, depth: Int = 0, problems: inout [ConfigurationProblem]
    ) -> [String] {
        guard depth < maximumDepth else { return [] }
        guard let stream = opendir(directory) else {
            let reason = errno
            if reason != ENOENT && reason != ENOTDIR {
                problems.append(
                    ConfigurationProblem(
                        .unreadable(reason: SystemError.text(reason)),
                        at: SourcePosition(file: directory, line: 1, column: 1)))
            }
            return []
        }
        defer { closedir(stream) }
        var names: [String] = []
        while names.count <= maximumFiles * 4, let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        var files: [String] = []
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            let path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
            var status = stat()
            guard lstat(path, &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: files += walk(path, depth: depth + 1, problems: &problems)
            case S_IFREG: files.append(path)
            case S_IFLNK:
                guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
                files.append(path)
            default: continue
            }
            if files.count > maximumFiles * 4 { break }
        }
        return files
    }

    private static func whyNotADirectory(_ path: String) -> String? {
        guard let stream = opendir(path) else { return SystemError.text(errno) }
        closedir(stream)
        return nil
    }
}
