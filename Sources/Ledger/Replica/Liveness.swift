package import Timing

/// Which owners are live, by the heartbeats of one moment (contract J.8).
package struct Liveness: Sendable {
    private let heartbeats: [LedgerText: Entry]
    private let window: Duration
    private let now: UnixTime

    init(heartbeats: [LedgerText: Entry], window: Duration, now: UnixTime) {
        self.heartbeats = heartbeats
        self.window = window
        self.now = now
    }

    /// Whether `owner` has a heartbeat that is not older than the window. One from the future counts.
    package func isLive(_ owner: LedgerText) -> Bool {
        isLive(owner, within: window)
    }

    /// Whether `owner` has a heartbeat that is not older than `window`.
    func isLive(_ owner: LedgerText, within window: Duration) -> Bool {
        guard let heartbeat = heartbeats[owner], !heartbeat.isDeleted,
            let text = PeerField.text(in: heartbeat.value), let time = GoTime.parse(rfc3339: text)
        else { return false }
        return time + window > now
    }

    /// Whether others may take the key over: a heartbeat stands for the window after it was signed,
    /// any other entry while its owner is live.
    package func isExpired(_ entry: Entry, at id: EntryID) -> Bool {
        if id.bucket == .healthcheck { return UnixTime(seconds: entry.updatedAt) + window < now }
        return !isLive(owner(of: entry, at: id))
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
        Liveness(heartbeats: storage[.healthcheck] ?? [:], window: configuration.livenessWindow, now: now)
    }

    /// The peers whose heartbeat is younger than `age`, sorted (contract L.1).
    package func availableNodes(within age: Duration = .seconds(900), at now: UnixTime) -> [LedgerText] {
        let liveness = liveness(at: now)
        return (storage[.healthcheck] ?? [:]).keys.filter { liveness.isLive($0, within: age) }.sorted()
    }
}
