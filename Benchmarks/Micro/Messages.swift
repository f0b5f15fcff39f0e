import GossipSub
import Ledger
import LibP2P
import Timing

/// The ledger of a network of 24 nodes, and the messages that carry it.
enum Messages {
    struct Refused: Error {}

    static func measurements(isQuick: Bool) throws -> [Measurement] {
        let now = UnixTime(nanoseconds: 1_800_000_000_000_000_000)
        var ledger = Ledger()
        for number in 0..<24 {
            let identity = Identity.generate()
            let owner = LedgerText(identity.peerID.description)
            let address = "10.1.0.\(number + 1)"
            let entries: [(EntryID, String)] = [
                (EntryID(.healthcheck, owner), "2027-01-15T08:00:00Z"),
                (EntryID(.machines, LedgerText(address)), #"{"PeerID":"\#(owner)","Address":"\#(address)"}"#),
            ]
            for (id, value) in entries {
                _ = try ledger.put(id, value: LedgerText(value), by: identity, at: now)
            }
        }
        let block = ledger.block(at: now)
        let encoded = block.encoded()
        var merged = Ledger()
        guard merged.merge(block, at: now).changes.count == 48 else { throw Refused() }
        var author = MessageAuthor(identity: Identity.generate())
        let topic: Topic = "bench"
        let message = author.message(topic: topic, data: encoded, at: now)
        var rpc = RPC()
        rpc.messages = [message]
        let bytes = rpc.encoded
        return [
            Measurement.of("ledger of 24 nodes, encoded", bytes: encoded.count, isQuick: isQuick) {
                _ = block.encoded()
            },
            try Measurement.of("ledger of 24 nodes, decoded", bytes: encoded.count, isQuick: isQuick) {
                _ = try Block.decode(encoded)
            },
            Measurement.of(
                "ledger of 24 nodes, merged where it is known", bytes: encoded.count, isQuick: isQuick
            ) {
                _ = merged.merge(block, at: now)
            },
            Measurement.of(
                "ledger of 24 nodes, merged where it is new", bytes: encoded.count, isQuick: isQuick
            ) {
                var empty = Ledger()
                _ = empty.merge(block, at: now)
            },
            Measurement.of("gossip, message signed", bytes: encoded.count, isQuick: isQuick) {
                _ = author.message(topic: topic, data: encoded, at: now)
            },
            Measurement.of("gossip, RPC encoded", bytes: bytes.count, isQuick: isQuick) { _ = rpc.encoded },
            try Measurement.of("gossip, RPC decoded", bytes: bytes.count, isQuick: isQuick) {
                _ = try RPC(parsing: bytes[...])
            },
        ]
    }
}
