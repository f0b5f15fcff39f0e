internal import DequeModule

/// Remembers which signatures were good or bad, so that an entry that comes again with every
/// broadcast costs a hash and not a verification. Holds `capacity` answers and forgets the oldest.
struct VerificationCache: Sendable {
    private var answers: [Fingerprint: Bool] = [:]
    private var order: Deque<Fingerprint> = []
    private let capacity: Int
    /// How many signatures were really verified.
    private(set) var verifications = 0

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Whether `entry` is validly signed.
    mutating func isValid(_ entry: Entry, at id: EntryID) -> Bool {
        guard let signature = entry.signature, !signature.isEmpty else { return false }
        let fingerprint = entry.fingerprint(at: id)
        if let answer = answers[fingerprint] { return answer }
        verifications += 1
        let answer = entry.hasValidSignature(at: id)
        if order.count >= capacity, let oldest = order.popFirst() { answers[oldest] = nil }
        order.append(fingerprint)
        answers[fingerprint] = answer
        return answer
    }
}
