internal import LibP2P
internal import Timing

/// Where this server stands with one resource.
enum LeaseSeat: Sendable {
    /// Asks not before the instant.
    case idle(notBefore: Instant)
    case asking(LeaseAttempt)
    case holding(LeaseHolding)
}

/// A candidate's one attempt.
struct LeaseAttempt: Sendable {
    let term: UInt64
    let nonce: UInt64
    let sentAt: Instant
    var grants: Set<PeerID> = []
    /// When those that denied can grant.
    var denials: [PeerID: Instant] = [:]
    /// The highest term that a denial named.
    var highestTerm: UInt64 = 0
    /// Whether anybody but this server answered.
    var wasHeard = false
}

/// What this server holds.
struct LeaseHolding: Sendable {
    var term: UInt64
    let since: Instant
    /// Until when a majority's grants are believed.
    var until: Instant
    /// Until when each server's grant is.
    var grants: [PeerID: Instant]
    /// When each of the last requests was sent, the oldest first.
    var rounds: [(nonce: UInt64, sentAt: Instant)] = []
    /// Requests since a majority last answered.
    var unconfirmed = 0
    var nextRenewal: Instant

    /// The last requests that an answer may be to.
    static let mostRounds = 4
    /// A holder that is not answered falls silent after as many requests: what it cannot know is
    /// whether the others hear it, and each request that they hear keeps them from granting to another.
    static let mostUnconfirmed = 2
}
