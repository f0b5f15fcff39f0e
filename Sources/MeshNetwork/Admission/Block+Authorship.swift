internal import Ledger
internal import LibP2P

extension Block {
    /// Entries of one owner that are looked at: each costs the check of a signature.
    private static let maximumLooked = 4

    /// Whether the block holds an entry that `peer` has signed. Nobody without the network's token can have one
    /// in a block that opens; a block that somebody else sealed can be sent again by anyone.
    func isWritten(by peer: PeerID) -> Bool {
        let owner = LedgerText(peer.description)
        var looked = 0
        for (bucket, keys) in storage {
            for (key, entry) in keys where entry.owner == owner {
                if entry.hasValidSignature(at: EntryID(bucket, key)) { return true }
                looked += 1
                if looked >= Self.maximumLooked { return false }
            }
        }
        return false
    }
}
