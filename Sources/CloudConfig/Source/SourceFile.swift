#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One cloud-config file as text: its size is bounded and it is UTF-8.
package struct SourceFile: Hashable, Sendable {
    /// The largest file that is read, in bytes. Collectors skip what is larger
    /// (contract/kairos.md §1.5).
    package static let maximumSize = 1_048_576
    /// A header stands within this many lines from the top (contract/kairos.md §1.5).
    package static let headerLines = 10
    /// The lines that mark a file as a cloud-config (contract/kairos.md §1.5).
    package static let headers = ["#cloud-config", "#kairos-config", "#node-config"]

    /// The file's path, as it was found or given.
    package let path: String
    /// The file's text.
    package let text: String

    /// Makes a file out of text that is at hand, for tests and for text that has no file.
    package init(path: String, text: String) {
        self.path = path
        self.text = text
    }

    /// Reads the file at `path`.
    ///
    /// - Throws: `ConfigurationProblem` of kind `unreadable`, `tooLarge`, `missingHeader` or `notUTF8`.
    package init(reading path: String) throws(ConfigurationProblem) {
        let bytes = try Self.bytes(of: path)
        guard Self.hasHeader(bytes) else {
            throw ConfigurationProblem(.missingHeader, at: SourcePosition(file: path, line: 1, column: 1))
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationProblem(.notUTF8, at: Self.firstBadByte(in: bytes, file: path))
        }
        self.init(path: path, text: text)
    }

    /// Whether one of the first ten lines is a header, trailing white space aside.
    package static func hasHeader(_ bytes: [UInt8]) -> Bool {
        bytes.split(separator: UInt8(ascii: "\n"), maxSplits: headerLines, omittingEmptySubsequences: false)
            .prefix(headerLines)
            .contains { line in
                guard line.first == UInt8(ascii: "#") else { return false }
                let end = line.lastIndex { ![0x20, 0x09, 0x0B, 0x0C, 0x0D].contains($0) } ?? line.startIndex
                return headers.contains { line[...end].elementsEqual($0.utf8) }
            }
    }

    /// The content of a regular file of at most `maximumSize` bytes.
    private static func bytes(of path: String) throws(ConfigurationProblem) -> [UInt8] {
        let position = SourcePosition(file: path, line: 1, column: 1)
        // O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw ConfigurationProblem(.unreadable(reason: SystemError.text(errno)), at: position)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw ConfigurationProblem(.unreadable(reason: SystemError.text(errno)), at: position)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ConfigurationProblem(.unreadable(reason: "it is not a regular file"), at: position)
        }
        guard Int(status.st_size) <= maximumSize else {
            throw ConfigurationProblem(.tooLarge(bytes: Int(status.st_size)), at: position)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(status.st_size))
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else {
                throw ConfigurationProblem(.unreadable(reason: SystemError.text(errno)), at: position)
            }
            if count == 0 { return bytes }
            bytes.append(contentsOf: buffer[..<count])
            // It may have grown since its size was asked for.
            guard bytes.count <= maximumSize else {
                throw ConfigurationProblem(.tooLarge(bytes: bytes.count), at: position)
            }
        }
    }

    /// The position of the first byte that is no UTF-8.
    private static func firstBadByte(in bytes: [UInt8], file: String) -> SourcePosition {
        var line = 1
        var column = 1
        var decoder = UTF8()
        var rest = bytes.makeIterator()
        while case .scalarValue(let scalar) = decoder.decode(&rest) {
            if scalar == "\n" {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return SourcePosition(file: file, line: line, column: column)
    }
}

/// The kernel's error numbers as text.
package enum SystemError {
    /// The C library's sentence for `number`: "Permission denied".
    package static func text(_ number: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard strerror_r(number, &buffer, buffer.count) == 0 else { return "error \(number)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
