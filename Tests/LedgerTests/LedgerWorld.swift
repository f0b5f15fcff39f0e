import Ledger
import LibP2P
import Timing

/// A few members who write, for tests: everything follows from the seed.
struct LedgerWorld {
    let identities: [Identity]
    let start = UnixTime(seconds: 1_767_225_600)
    let end = UnixTime(seconds: 1_767_225_900)

    init(seed: UInt64, members: Int) {
        var generator = SeededGenerator(seed: seed)
        identities = (0..<members).compactMap { _ in
            let seed = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
            return try? Identity(seed: SecretBytes(copying: seed))
        }
    }

    func owner(_ member: Int) -> LedgerText { LedgerText(identities[member].peerID.description) }

    /// A value that says that `member` owns it.
    func value(of member: Int, _ text: String = "") -> LedgerText {
        LedgerText(#"{"PeerID":"\#(owner(member))","Name":"\#(text)"}"#)
    }

    func heartbeat(_ time: UnixTime) -> LedgerText { LedgerText("\"\(GoTime.rfc3339(time))\"") }

    /// Blocks that members made from `writes` writes of all sorts, each on its own replica.
    func history(writes: Int, using generator: inout SeededGenerator) -> [Block] {
        var replicas = identities.map { _ in Ledger() }
        var blocks: [Block] = []
        for step in 0..<writes {
            let member = Int.random(in: 0..<identities.count, using: &generator)
            let now = start + .seconds(step) + .milliseconds(Int.random(in: 0..<900, using: &generator))
            let key = LedgerText("key\(Int.random(in: 0..<4, using: &generator))")
            let id: EntryID
            let value: LedgerText
            switch Int.random(in: 0..<6, using: &generator) {
            case 0:
                (id, value) = (
                    EntryID(.services, LedgerText("\(key)-\(member)")), self.value(of: member, "\(step)")
                )
            case 1: (id, value) = (EntryID(.healthcheck, owner(member)), heartbeat(now))
            case 2: (id, value) = (EntryID("kairos", key), LedgerText("\"\(step)\""))
            case 3:
                (id, value) = (EntryID(.kairosElection, owner(member)), LedgerText("{\"ballot\":\(step)}"))
            case 4:
                (id, value) = (
                    EntryID(.kairosNode, LedgerText("\(owner(member))/\(key)")), LedgerText("\(step)")
                )
            default:
                let keys = replicas[member].entries(in: .services).filter { $0.value.owner == owner(member) }
                    .keys
                guard let key = keys.sorted().first else { continue }
                let id = EntryID(.services, key)
                _ = try? replicas[member].delete(id, by: identities[member], at: now)
                blocks.append(replicas[member].delta(of: [id], at: now))
                continue
            }
            _ = try? replicas[member].put(id, value: value, by: identities[member], at: now)
            blocks.append(replicas[member].delta(of: [id], at: now))
        }
        return blocks
    }
}
