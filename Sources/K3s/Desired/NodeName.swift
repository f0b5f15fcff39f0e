/// The name under which the node is known in the cluster.
///
/// It must be unique and must not change for the life of the node (contract/k3s.md §4, §14). Host
/// names are not unique by themselves: a cloud-config can set the same one everywhere, and
/// `with-node-id` does not help servers. So every node is called `<host name>-<8 hex digits>`, the
/// digits derived from its peer identity, which lives on the persistent partition beside K3s' own
/// node password: an image written anew keeps its name, a node that was reset gets another one and is
/// not refused for a password that it lost. Who wants other names sets `--node-name` in `k3s.args`.
package struct NodeName: Hashable, Sendable, CustomStringConvertible {
    /// A DNS label of at most 63 characters: Kubernetes also keeps it as a label's value.
    package let text: String

    /// The name of the node with the identity `peerID` (its bytes or text) on the host called `hostName`.
    package init(hostName: String, peerID: some Sequence<UInt8>) {
        let suffix = Self.suffix(of: peerID)
        self.text = Self.label(hostName, limit: 63 - suffix.utf8.count) + suffix
    }

    /// `previous`, if this node has gone by that name before; else the name made from `hostName`.
    ///
    /// Renaming the host must not rename the node; but a name that belongs to another identity, on a
    /// cloned disk say, is not kept.
    package init(previous: String?, hostName: String, peerID: some Sequence<UInt8>) {
        let suffix = Self.suffix(of: peerID)
        if let previous, previous.utf8.count > suffix.utf8.count, previous.utf8.count <= 63,
            previous.hasSuffix(suffix), Self.label(previous, limit: 63) == previous
        {
            self.text = previous
        } else {
            self.text = Self.label(hostName, limit: 63 - suffix.utf8.count) + suffix
        }
    }

    package var description: String { text }

    /// `-` and 8 hex digits of a hash (FNV-1a, folded to 32 bits) of the identity.
    private static func suffix(of peerID: some Sequence<UInt8>) -> String {
        let hash = Fingerprint(of: peerID).value
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return "-" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// `name` in lower case, everything that Kubernetes does not take replaced by dashes.
    private static func label(_ name: String, limit: Int) -> String {
        var bytes: [UInt8] = []
        for byte in name.lowercased().utf8.prefix(limit) {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                bytes.append(byte)
            // A dot is allowed only between letters or digits, and so is a dash beside it.
            case UInt8(ascii: ".") where bytes.last.map { $0 != UInt8(ascii: "-") && $0 != byte } ?? false:
                bytes.append(byte)
            default:
                if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
                if !bytes.isEmpty { bytes.append(UInt8(ascii: "-")) }
            }
        }
        while let last = bytes.last, last == UInt8(ascii: "-") || last == UInt8(ascii: ".") {
            bytes.removeLast()
        }
        return bytes.isEmpty ? "node" : String(decoding: bytes, as: UTF8.self)
    }
}
