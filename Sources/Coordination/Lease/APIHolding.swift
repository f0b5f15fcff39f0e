package import LibP2P

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// What a server says of the API address, in a ledger entry that nobody else may write: written only
/// when it changes. Everyone routes the address by it.
package struct APIHolding: Hashable, Sendable, Codable {
    /// The number of the decree, and its epoch, under which the server held it.
    package let decree: UInt64
    package let epoch: UInt64
    package let term: UInt64
    /// Whether it holds it; false once it has given it back.
    package let held: Bool

    package init(decree: UInt64, epoch: UInt64, term: UInt64, held: Bool) {
        self.decree = decree
        self.epoch = epoch
        self.term = term
        self.held = held
    }

    /// The entry's value.
    package var text: String {
        "{\"decree\":\(decree),\"epoch\":\(epoch),\"held\":\(held),\"term\":\(term)}"
    }

    /// What `text` spells; nil when it is anything else.
    package init?(text: String) {
        guard text.utf8.count <= 512,
            let holding = try? JSONDecoder().decode(APIHolding.self, from: Data(text.utf8)),
            holding.term <= LeaseMessage.highestTerm
        else { return nil }
        self = holding
    }

    /// Who holds the address: the server that says so under the newest epoch and term, if that is its
    /// last word.
    ///
    /// What a node says that is not among `servers` does not count; of equal terms, which no two holders
    /// have, the lesser peer ID's does, so that all nodes choose alike.
    package static func holder(among said: [PeerID: APIHolding], servers: LeaseServers) -> PeerID? {
        let candidates = servers.members.compactMap { peer in said[peer].map { (peer, $0) } }
            .filter { $0.1.epoch == servers.epoch && $0.1.held }
        return candidates.max { ($0.1.term, $1.0) < ($1.1.term, $0.0) }?.0
    }
}
