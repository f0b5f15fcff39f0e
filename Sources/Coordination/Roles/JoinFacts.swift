#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// What a node needs to join the cluster through one server, published by that server in an entry
/// that nobody else may write.
package struct JoinFacts: Hashable, Sendable, Codable {
    /// The epoch of the founding that the server belongs to.
    package let epoch: UInt64
    /// The server's virtual address.
    package let address: String
    /// The API port.
    package let port: Int
    /// The K3s join token: the short form until the cluster's CA exists, the CA-pinned form after.
    package let token: String

    package init(epoch: UInt64, address: String, port: Int = 6443, token: String) {
        self.epoch = epoch
        self.address = address
        self.port = port
        self.token = token
    }

    /// The URL at which the server is joined.
    package var url: String { "https://\(address):\(port)" }

    /// The facts as the value of their ledger entry.
    package var text: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings and integers only: there is nothing that JSON cannot hold.
        guard let data = try? encoder.encode(self) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    /// The facts that `text` spells; nil when it is anything else, or when a value is out of range.
    package init?(text: String) {
        guard text.utf8.count <= 16 * 1024,
            let facts = try? JSONDecoder().decode(JoinFacts.self, from: Data(text.utf8)),
            (1...65535).contains(facts.port), !facts.token.isEmpty, facts.token.utf8.count <= 4096,
            facts.address.utf8.count <= 64
        else { return nil }
        self = facts
    }
}
