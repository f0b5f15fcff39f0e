/// The head of an answer of HTTP/1.1 (RFC 9112), as far as it matters to a probe.
struct HTTPAnswer: Hashable, Sendable {
    /// `200`, for example.
    let status: String
    /// Bytes of the head, the empty line included.
    let length: Int
    /// Bytes that follow; nil where only the end of the connection says so.
    let bodyLength: Int?
    /// Whether the server takes another request on the same connection.
    let isKept: Bool

    /// Reads the head; nil when it is not all there.
    init?(_ bytes: [UInt8]) {
        guard let end = Self.end(of: bytes) else { return nil }
        length = end
        var lines = String(decoding: bytes.prefix(end), as: UTF8.self).split(separator: "\r\n")
        let first = (lines.isEmpty ? "" : lines.removeFirst()).split(separator: " ")
        status = first.dropFirst().first.map(String.init) ?? "nothing"
        var (body, closes) = (Int?.none, first.first != "HTTP/1.1")
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let name = line[..<colon].lowercased()
            let value = line[line.index(after: colon)...].filter { $0 != " " && $0 != "\t" }.lowercased()
            if name == "content-length" {
                body = Int(value).flatMap { (0...1_000_000).contains($0) ? $0 : nil }
            }
            if name == "connection", value == "close" { closes = true }
        }
        bodyLength = body
        isKept = body != nil && !closes
    }

    private static func end(of bytes: [UInt8]) -> Int? {
        guard bytes.count >= 4 else { return nil }
        return (4...bytes.count).first { bytes[($0 - 4)..<$0].elementsEqual([13, 10, 13, 10]) }
    }
}
