internal import Timing

/// Whether super-packets to one peer go as blocks. A block is lost with any of its parts, so where the peer says
/// that one was, packets are sealed one by one for a while, for longer each time that it comes again.
struct BlockPolicy: Sendable {
    /// The first pause, doubled up to the longest.
    static let minimumPause = Duration.seconds(1)
    static let maximumPause = Duration.seconds(64)
    /// So long after a pause without a loss, the next one is short again.
    static let memory = Duration.seconds(30)

    private var pause: Duration?
    private var until: Instant?
    private var resumed: Instant?

    /// Whether blocks may be sent.
    var isOpen: Bool { until == nil }

    /// When `tick` is wanted.
    var nextDeadline: Instant? { until }

    /// The peer says that a block was lost.
    mutating func lost(at now: Instant) {
        // What was under way when the pause began is still being lost.
        guard until == nil else { return }
        if let pause, let resumed, now - resumed < Self.memory {
            self.pause = min(pause * 2, Self.maximumPause)
        } else {
            pause = Self.minimumPause
        }
        until = now + (pause ?? Self.minimumPause)
    }

    mutating func tick(at now: Instant) {
        guard let until, now >= until else { return }
        self.until = nil
        resumed = now
    }
}
