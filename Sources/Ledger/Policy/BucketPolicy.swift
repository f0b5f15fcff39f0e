/// Who may write in a bucket and for how long an entry stands (contract/wire.md J.8).
package enum BucketPolicy: Hashable, Sendable {
    /// Anyone writes; the greater version wins, no signature is checked.
    case open
    /// The owner is the `PeerID` field of the value, and keeps the key while it is live.
    case ownerInValue
    /// The owner is the key itself, and keeps it while it is live.
    case ownerInKey
    /// The owner is whoever signed first, and keeps the key while it is live.
    case firstSigner
    /// One of our own buckets: the key, up to its first `/`, is the owner's peer ID, and only that
    /// peer ever writes there. Stock nodes take such a bucket for an open one and relay its entries
    /// with their signatures, so what they let pass is judged here.
    case ownerPrefix

    /// The policy of the bucket named `bucket`; names are compared exactly.
    package static func of(_ bucket: LedgerText) -> BucketPolicy {
        switch bucket {
        case .machines, .services, .files: .ownerInValue
        case .users, .healthcheck, .egress: .ownerInKey
        case .dns: .firstSigner
        default: LedgerText.ownBuckets.contains(bucket) ? .ownerPrefix : .open
        }
    }

    /// The owner that the policy reads from an entry, empty when there is none; nil when the policy
    /// names no owner (open buckets, and those where the signer becomes the owner).
    package func owner(key: LedgerText, value: LedgerText) -> LedgerText? {
        switch self {
        case .open, .firstSigner: nil
        case .ownerInKey: key
        case .ownerInValue: PeerField.peerID(in: value)
        case .ownerPrefix:
            key.string.utf8.firstIndex(of: UInt8(ascii: "/")).map { LedgerText(String(key.string[..<$0])) }
                ?? key
        }
    }
}

extension LedgerText {
    /// Virtual addresses and the nodes that hold them.
    package static let machines: LedgerText = "machines"
    package static let services: LedgerText = "services"
    package static let files: LedgerText = "files"
    package static let users: LedgerText = "users"
    /// Heartbeats: RFC 3339 texts under the peer ID.
    package static let healthcheck: LedgerText = "healthcheck"
    package static let egress: LedgerText = "egress"
    package static let dns: LedgerText = "dns"
    /// The stock nodes' address election.
    package static let dhcp: LedgerText = "dhcp"
    /// Registers of the founding election: one per member, under its peer ID.
    package static let kairosElection: LedgerText = "kairosElection"
    /// What each of our nodes says of itself, under its peer ID: label, roles, API-address lease.
    package static let kairosNode: LedgerText = "kairosNode"

    /// The buckets that only our nodes write and judge (`BucketPolicy.ownerPrefix`).
    package static let ownBuckets: Set<LedgerText> = [kairosElection, kairosNode]
}

/// Reads the owner out of a machine's, service's or file's value.
enum PeerField {
    /// The `PeerID` field of a JSON object as Go reads it: any letter case, the last text wins,
    /// values of other types are passed over; empty when the value is no JSON object.
    static func peerID(in value: LedgerText) -> LedgerText {
        var peer: LedgerText = ""
        var reader = JSONReader(Array(value.utf8))
        do {
            guard try reader.peek() == .object else { return "" }
            try reader.readObject { (reader, name) throws(JSONError) in
                if name.namesField("PeerID"), try reader.peek() == .string {
                    peer = try reader.readText()
                } else {
                    try reader.skipValue()
                }
            }
            try reader.finish()
        } catch {
            return ""
        }
        return peer
    }

    /// The text of a JSON string value, or nil when the value is anything else.
    static func text(in value: LedgerText) -> LedgerText? {
        var reader = JSONReader(Array(value.utf8))
        do {
            let text = try reader.readText()
            try reader.finish()
            return text
        } catch {
            return nil
        }
    }
}
