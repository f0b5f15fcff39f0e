/// What becomes of the answers of this node's K3s: when it counts as ill, and when it is asked again.
struct K3sHealth: Sendable {
    /// After how many failures in a row it counts as ill; one success makes it well.
    static let mostFailures = 2
    /// Before it is asked again. A server that is well and the only one is asked less often: nobody could
    /// take the API address over.
    static let pause = Duration.seconds(2)
    static let pauseOfTheOnlyOne = Duration.seconds(5)

    /// What is wrong with it; nil when it is well.
    private(set) var illness: String?
    private var failures = 0

    init() {
        illness = "it has not been asked yet"
    }

    /// Takes an answer, nil when K3s is ready. Returns whether the verdict is known; one failure of a K3s that
    /// was well says nothing.
    mutating func hear(_ answer: String?) -> Bool {
        failures = answer == nil ? 0 : failures + 1
        guard answer == nil || failures >= Self.mostFailures else { return false }
        illness = answer
        return true
    }

    /// How long to wait before the next question, among so many servers with this one.
    func pause(servers: Int) -> Duration {
        servers == 1 && illness == nil && failures == 0 ? Self.pauseOfTheOnlyOne : Self.pause
    }
}
