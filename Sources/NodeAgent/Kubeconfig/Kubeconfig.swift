internal import Glibc
internal import LibP2P

/// K3s' own kubeconfig, `/etc/rancher/k3s/k3s.yaml`, which makes whoever has it the cluster's administrator.
///
/// It is looked at byte by byte, in the layout in which K3s writes it: a YAML reader would leave copies of the
/// client's key all over the memory, and this one is read every two seconds. The bytes are overwritten in the end.
package struct Kubeconfig: Sendable {
    /// A kubeconfig of K3s has some 3 KB.
    package static let largest = 64 * 1024

    private let storage: SecretBytes
    /// How many of them are the file's.
    private let end: Int

    /// Why there is none.
    package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        case missing(path: String)
        case unreadable(path: String, code: Int32)
        case noServer(path: String)

        /// The code of sysexits(3).
        package var exitCode: Int32 {
            switch self {
            case .unreadable(_, let code) where code == EACCES || code == EPERM: AgentFailure.Code.permission
            case .missing, .unreadable, .noServer: AgentFailure.Code.unavailable
            }
        }

        package var description: String {
            switch self {
            case .missing(let path): "there is no \(path): K3s writes it on servers, once it is up"
            case .unreadable(let path, let code): "\(path) cannot be read: \(String(cString: strerror(code)))"
            case .noServer(let path): "\(path) has no line with a server, or is larger than 64 KiB"
            }
        }
    }

    /// Reads the file at `path`.
    package init(reading path: String) throws(Failure) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT ? .missing(path: path) : .unreadable(path: path, code: errno)
        }
        defer { close(descriptor) }
        var (count, failure) = (0, Int32(0))
        storage = SecretBytes(count: Self.largest + 1) { storage in
            while count <= Self.largest {
                let part = Glibc.read(descriptor, storage + count, Self.largest + 1 - count)
                if part < 0, errno == EINTR { continue }
                if part < 0 { failure = errno }
                guard part > 0 else { return }
                count += part
            }
        }
        end = count
        guard failure == 0 else { throw .unreadable(path: path, code: failure) }
        guard count <= Self.largest, withValue(of: "server", { $0.isEmpty ? nil : true }) != nil else {
            throw .noServer(path: path)
        }
    }

    /// Reads that of the node with this root.
    package init(root: String) throws(Failure) {
        try self.init(reading: NodePaths(root: root).under("/etc/rancher/k3s/k3s.yaml"))
    }

    /// A part of the text, which must not be kept.
    typealias Part = Slice<UnsafeRawBufferPointer>

    /// Where the value of the first line `name: value` is, blanks and a dash before it aside.
    private static func range(of name: String, in text: Part) -> Range<Int>? {
        let key = Array(name.utf8) + [UInt8(ascii: ":"), UInt8(ascii: " ")]
        var start = text.startIndex
        while start < text.endIndex {
            let stop = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex
            let first =
                text[start..<stop].firstIndex { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "-") } ?? stop
            if text[first..<stop].starts(with: key) { return first + key.count..<stop }
            start = stop + 1
        }
        return nil
    }

    /// Lends the value of `name`, a text in one line.
    func withValue<Result>(of name: String, _ body: (Part) -> Result?) -> Result? {
        storage.withUnsafeBytes { bytes in
            let text = bytes[..<end]
            return Self.range(of: name, in: text).flatMap { body(text[$0]) }
        }
    }

    /// The address of the server: `https://127.0.0.1:6443`.
    package var server: String { withValue(of: "server") { String(decoding: $0, as: UTF8.self) } ?? "" }

    /// Lends the whole text in two parts, those before and after the server's address, to print it with another.
    package func withText(
        _ body: (_ before: Slice<UnsafeRawBufferPointer>, _ after: Slice<UnsafeRawBufferPointer>) -> Void
    ) {
        storage.withUnsafeBytes { bytes in
            let text = bytes[..<end]
            guard let server = Self.range(of: "server", in: text) else { return }
            body(text[..<server.lowerBound], text[server.upperBound...])
        }
    }

    /// The server's address with `host` in the place of K3s' own, which is the node itself.
    package func server(at host: String) -> String {
        let server = self.server
        let port = server.lastIndex(of: ":").map { server[$0...] } ?? ""
        return "https://" + (host.contains(":") ? "[\(host)]" : host) + (port.contains("/") ? ":6443" : port)
    }
}
