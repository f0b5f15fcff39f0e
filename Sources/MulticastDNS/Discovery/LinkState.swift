internal import Timing

/// What is going on and what is due on one link. The timing rules of RFC 6762 hold per link.
struct LinkState: Sendable {
    /// The multicast DNS port: packets from other ports come from one-shot resolvers.
    static let port: UInt16 = 5353
    static let probeInterval = Duration.milliseconds(250)
    static let announcementInterval = Duration.seconds(1)
    static let firstQueryInterval = Duration.seconds(4)
    /// How rarely is asked while nobody has been heard, and once somebody has: whoever comes later
    /// announces itself, and is told of the others by those that it meets.
    static let longestLonelyInterval = Duration.seconds(60)
    static let longestQueryInterval = Duration.seconds(900)
    /// No record is multicast more often than this, however often it is asked for (RFC 6762, 6).
    static let answerInterval = Duration.seconds(1)
    /// How long after a packet was dropped unread it may have been a question that was worth an answer.
    static let floodMemory = Duration.seconds(10)

    let link: MulticastLink
    var probesLeft = 0
    var announcementsLeft = 0
    /// When the next probe or, after the last one, the next announcement is due.
    var claimDue: Instant?
    var queryDue: Instant
    var queryInterval = LinkState.firstQueryInterval
    var queriesSent = 0
    /// Whether another node of the network was ever heard on the link.
    var hasHeard = false
    /// What is to be answered by multicast, and when.
    var pendingAnswer: Advertisement.Subject = []
    var answerDue: Instant?
    var lastAnswer: Instant?
    /// Packets without a proof that are looked at; the rest of a flood is dropped unread.
    var packets: SourceShares
    /// Proofs that are checked. One sender cannot use up the total, and what no sender can send is no limit:
    /// a proof is checked in a few microseconds.
    var claims: SourceShares
    /// When a packet was last dropped unread.
    var dropped: Instant?
    /// Answers by unicast, which a forged source could turn against someone.
    var unicasts: TokenBucket

    init(link: MulticastLink, at now: Instant, queryDue: Instant) {
        self.link = link
        self.queryDue = queryDue
        self.packets = SourceShares(
            share: .init(burst: 64, perSecond: 16), total: .init(burst: 512, perSecond: 128), at: now)
        self.claims = SourceShares(
            share: .init(burst: 4096, perSecond: 4096), total: .init(burst: 16384, perSecond: 16384), at: now)
        self.unicasts = TokenBucket(capacity: 16, refillPerSecond: 4, at: now)
    }

    var nextDeadline: Instant {
        min(queryDue, claimDue ?? .distantFuture, answerDue ?? .distantFuture)
    }

    /// Starts claiming the name: probes first, then two announcements.
    mutating func startClaim(at start: Instant, probes: Int) {
        probesLeft = probes
        announcementsLeft = 2
        claimDue = start
    }

    /// Takes note that the service was just asked for, by us or by someone else.
    mutating func queryWasSent(at now: Instant, generator: inout SeededGenerator) {
        queryDue = now + queryInterval
        let factor = Double.random(in: 1.5...2.5, using: &generator)
        let longest = hasHeard ? Self.longestQueryInterval : Self.longestLonelyInterval
        queryInterval = min(queryInterval * factor, longest)
    }

    /// Asks for a multicast answer about `subjects`; questions that come close together get one.
    mutating func scheduleAnswer(_ subjects: Advertisement.Subject, at now: Instant, delay: Duration) {
        pendingAnswer.formUnion(subjects)
        let earliest = lastAnswer.map { $0 + Self.answerInterval } ?? .zero
        if answerDue == nil { answerDue = max(now + delay, earliest) }
    }
}
