package import Timing

/// What must hold: by name, so that a violation says which promise was broken.
package enum Check: String, Hashable, Sendable, CaseIterable {
    /// At most one founder is certified in an epoch, ever.
    case oneFounder = "one founder in an epoch"
    /// A role is obeyed only with its certificate, valid and on disk.
    case certifiedRole = "no role without its certificate"
    /// A network that has run a cluster never founds a second one.
    case oneCluster = "one cluster, for good"
    /// No two members hold one address once the network has been whole for 10 s.
    case oneHolder = "one holder of an address"
    /// A node that keeps its disk keeps its address, unless another member has held it.
    case keptAddress = "an address survives a restart"
    /// Every vote in a certificate that is acted on is on its voter's disk, and none is told before.
    case votesOnDisk = "votes on disk before anyone acts"
    /// At the end there is a founder, everyone has a role, and K3s runs as the role asks.
    case order = "order returns"
    /// At the end all replicas are equal.
    case equalLedgers = "ledgers converge"
}

/// A promise that was broken.
package struct Violation: Hashable, Sendable, CustomStringConvertible {
    package let check: Check
    package let at: Instant
    package let what: String

    package var description: String { "\(at) violated: \(check.rawValue): \(what)" }
}

/// Something that is broken on purpose, to see that a check notices.
package enum Sabotage: Hashable, Sendable, CaseIterable {
    /// Each node counts itself as a quorum.
    case quorumOfOne
    /// The disk leaves the certificate out of the election's state.
    case certificateNotKept
    /// Servers lose K3s' data with every power cut.
    case datastoreForgotten
    /// All devices carry one address, whatever was claimed.
    case oneAddressForAll
    /// Every restart finds another address in the cloud-config.
    case addressMovesAtRestart
    /// The disk says that votes are written, and forgets them.
    case votesForgotten
    /// A partition stays for ever.
    case partitionStays

    /// The check that has to notice.
    package var noticedBy: Check {
        switch self {
        case .quorumOfOne: .oneFounder
        case .certificateNotKept: .certifiedRole
        case .datastoreForgotten: .oneCluster
        case .oneAddressForAll: .oneHolder
        case .addressMovesAtRestart: .keptAddress
        case .votesForgotten: .votesOnDisk
        case .partitionStays: .equalLedgers
        }
    }
}
