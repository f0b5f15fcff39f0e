package import Timing

/// Which owners are live, by the heartbeats of one moment (contract J.8) and by who is known to be here
/// without one.
package struct Liveness: Sendable {
    private let heartbeats: [LedgerText: Entry]
    private let present: Set<LedgerText>
    private let window: Duration
    private let now: UnixTime

    init(heartbeats: [LedgerText: Entry], present: Set<LedgerText>, window: Duration, now: UnixTime) {
        self.heartbeats = heartbeats
        self.present = present
        self.window = window
        self.now = now
    }

    /// Whether `owner` is here, or has a heartbeat that is not older than the window. One from the future
    /// counts.
    package func isLive(_ owner: LedgerText) -> Bool {
        isLive(owner, within: window)
    }

    /// The same with another window.
    func isLive(_ owner: LedgerText, within window: Duration) -> Bool {
        (present.contains(owner) && !hasWithdrawn(owner)) || hasHeartbeat(owner, within: window)
    }

    /// Whether `owner` has deleted its own heartbeat: it is here, and has given up what was its own.
    private func hasWithdrawn(_ owner: LedgerText) -> Bool {
        heartbeats[owner].map { $0.isDeleted && $0.owner == owner } ?? false
    }

    /// Whether `owner` is known only by a heartbeat that is not older than the window: so it is none of
    /// those that are here, and watches heartbeats itself.
    func isStranger(_ owner: LedgerText) -> Bool {
        !present.contains(owner) && hasHeartbeat(owner, within: window)
    }

    private func hasHeartbeat(_ owner: LedgerText, within window: Duration) -> Bool {
        guard let heartbeat = heartbeats[owner], !heartbeat.isDeleted,
            let text = PeerField.text(in: heartbeat.value), let time = GoTime.parse(rfc3339: text)
        else { return false }
        return time + window > now
    }

    /// Whether others may take the key over: a heartbeat stands for the window after it was signed,
    /// any other entry while its owner is live, and both while the owner is here.
    package func isExpired(_ entry: Entry, at id: EntryID) -> Bool {
        let owner = owner(of: entry, at: id)
        if id.bucket == .healthcheck {
            return !present.contains(owner) && UnixTime(seconds: entry.updatedAt) + window < now
        }
        return !isLive(owner)
    }

    /// The entry's owner: for an unsigned one of older nodes, whom the owner rule names.
    package func owner(of entry: Entry, at id: EntryID) -> LedgerText {
        if !entry.owner.isEmpty { return entry.owner }
        return BucketPolicy.of(id.bucket).owner(key: id.key, value: entry.value) ?? ""
    }
}

extension Ledger {
    /// Who is live at `now` by the heartbeats held.
    package func liveness(at now: UnixTime) -> Liveness {
        Liveness(
            heartbeats: storage[.healthcheck] ?? [:], present: presentOwners,
            window: configuration.livenessWindow, now: now)
    }

    /// Whether any other owner than `own` is known by a fresh heartbeat alone.
    package func hasStrangers(besides own: LedgerText, at now: UnixTime) -> Bool {
        guard let heartbeats = storage[.healthcheck] else { return false }
        let liveness = liveness(at: now)
        return heartbeats.keys.contains { $0 != own && liveness.isStranger($0) }
    }

    /// The peers that are here and those whose heartbeat is younger than `age`, of all that ever had one,
    /// sorted (contract L.1).
    package func availableNodes(within age: Duration = .seconds(900), at now: UnixTime) -> [LedgerText] {
        let liveness = liveness(at: now)
        return (storage[.healthcheck] ?? [:]).keys.filter { liveness.isLive($0, within: age) }.sorted()
    }
}
