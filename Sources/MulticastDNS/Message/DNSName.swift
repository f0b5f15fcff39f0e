/// A domain name: labels from the host outwards, without the root.
///
/// Names are compared byte by byte. DNS folds ASCII case, but the service name of a network is
/// random text in both cases and the other implementations compare it exactly
/// (contract/wire.md G.1).
struct DNSName: Hashable, Sendable, CustomStringConvertible {
    /// Each 1 to 63 bytes.
    let labels: [[UInt8]]

    /// The most bytes a name takes on the wire, length bytes and root included (RFC 1035, 3.1).
    static let maximumLength = 255
    /// The most bytes of a label.
    static let maximumLabelLength = 63

    /// The name of `labels`; nil when one is empty or too long, or all are too long together.
    init?(labels: [[UInt8]]) {
        var length = 1
        for label in labels {
            guard (1...Self.maximumLabelLength).contains(label.count) else { return nil }
            length += 1 + label.count
        }
        guard length <= Self.maximumLength else { return nil }
        self.labels = labels
    }

    /// The name of a text such as `host.local.`; the last dot may be left out. A dot always separates.
    init?(_ text: String) {
        var labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map(
            Array.init)
        if labels.last == [] { labels.removeLast() }
        self.init(labels: labels)
    }

    /// The name with `label` in front; nil when that is no name.
    func prefixed(with label: String) -> DNSName? {
        DNSName(labels: [Array(label.utf8)] + labels)
    }

    /// Whether the name is one label longer than `parent` and ends in it.
    func isChild(of parent: DNSName) -> Bool {
        labels.count == parent.labels.count + 1 && labels.dropFirst() == parent.labels[...]
    }

    /// The presentation form with its last dot. Bytes outside ASCII are replaced: for logs only.
    var description: String {
        labels.map { String(decoding: $0, as: UTF8.self) + "." }.joined()
    }
}
