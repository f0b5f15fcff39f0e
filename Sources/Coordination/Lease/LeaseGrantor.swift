internal import LibP2P
internal import Timing

/// One server's word on one resource: granted to nobody or to one server, until an instant.
///
/// Everything rests on this: until that instant it grants nobody else. What it granted in a former
/// life it does not know, so it grants nothing for one `hold` after its start, but to a server that
/// says it holds the resource now: if that is so, no other server holds it.
struct LeaseGrantor: Sendable {
    private let resource: LeaseResource
    private(set) var grantee: PeerID?
    private(set) var until: Instant
    /// Before this nothing is granted, since what a former life granted may still count.
    private(set) var quietUntil: Instant
    /// The highest term seen; a new grant has a higher one.
    private(set) var highestTerm: UInt64 = 0
    private var term: UInt64 = 0
    /// Who last gave something back, and what: a request that was sent before may come after.
    private var released: (peer: PeerID, term: UInt64)?

    init(_ resource: LeaseResource, at now: Instant) {
        self.resource = resource
        self.until = now
        self.quietUntil = now + resource.hold
    }

    /// Who may hold the resource as far as this grantor knows.
    func grantee(at now: Instant) -> PeerID? { now < until ? grantee : nil }

    /// When it can grant to anybody.
    func free(at now: Instant) -> Instant { max(now, max(until, quietUntil)) }

    /// There never was another server, so nobody else can have a grant of a former life.
    mutating func skipQuiet(at now: Instant) { quietUntil = min(quietUntil, now) }

    /// How far one message moves what is known. Honest terms are one apart; one that lies has to send for weeks to
    /// use the terms up, and servers that it told different ones come together again within a few attempts.
    static let window: UInt64 = 1 << 16

    mutating func note(term: UInt64) {
        guard let told = WireCounter(term) else { return }
        highestTerm = max(
            highestTerm, told.isWithin(Self.window, of: highestTerm) ? term : highestTerm + Self.window)
    }

    enum Answer: Hashable {
        case granted
        /// Denied, for this long as far as is known.
        case denied(Duration)
    }

    private func isFarAhead(_ term: UInt64) -> Bool {
        WireCounter(term)?.isWithin(Self.window, of: highestTerm) != true
    }

    mutating func request(
        from peer: PeerID, term asked: UInt64, lease: Duration, isHeld: Bool, at now: Instant
    ) -> Answer {
        if let released, released.peer == peer, asked <= released.term {
            return .denied(.zero)
        } else if now < until, grantee == peer {
            guard asked >= term else { return .denied(.zero) }
        } else if now < until {
            return .denied(until - now)
        } else if now < quietUntil, !isHeld {
            return .denied(quietUntil - now)
        } else if asked < highestTerm || (asked == highestTerm && !isHeld) {
            return .denied(.zero)
        } else if isFarAhead(asked) {
            // The next attempt is nearer.
            note(term: asked)
            return .denied(.zero)
        }
        grantee = peer
        term = asked
        note(term: asked)
        until = max(now < until ? until : now, now + LeaseResource.hold(of: min(lease, resource.lease)))
        return .granted
    }

    /// `peer` gives back what it was granted under `released` or an older term.
    mutating func release(by peer: PeerID, term given: UInt64, at now: Instant) {
        guard !isFarAhead(given) else { return note(term: given) }
        released = (peer, released?.peer == peer ? max(given, released?.term ?? 0) : given)
        // The next attempt, whoever makes it, has a higher term than the one that ended.
        note(term: given)
        guard grantee == peer, given >= term else { return }
        grantee = nil
        until = min(until, now)
    }
}
