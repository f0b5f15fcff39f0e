/// The function by which stock nodes agree on a leader without talking: the name with the greatest
/// 32-bit FNV-1a hash (contract/wire.md L.2).
package enum LeaderFunction {
    /// The FNV-1a hash of `bytes`.
    package static func hash(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        for byte in bytes {
            hash = (hash ^ UInt32(byte)) &* 0x0100_0193
        }
        return hash
    }

    /// The leader of `names`: the first one with the greatest hash, or nil of none.
    package static func leader(of names: some Sequence<LedgerText>) -> LedgerText? {
        var best: (name: LedgerText, hash: UInt32)?
        for name in names {
            let hash = hash(name.utf8)
            if let current = best, current.hash >= hash { continue }
            best = (name, hash)
        }
        return best?.name
    }
}
