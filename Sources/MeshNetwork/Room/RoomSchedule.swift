package import LibP2P
package import Timing

/// One period between two rotations: the topic to meet on and the key to seal with.
package struct RoomWindow: Sendable {
    /// The number of the period since 1970.
    package let counter: UInt64
    /// The pubsub topic: 32 hex characters.
    package let topic: String
    /// The 32 ASCII characters that are the AES key (contract/wire.md J.3).
    package let sealKey: SecretBytes
}

extension RoomWindow: Equatable {
    package static func == (left: RoomWindow, right: RoomWindow) -> Bool {
        left.counter == right.counter && left.topic == right.topic
    }
}

/// What is valid at one moment: the period the clock is in and its neighbours, so that a clock that is
/// wrong by up to a whole period still meets the others.
package struct RoomWindows: Equatable, Sendable {
    package let current: RoomWindow
    /// The periods before and after; none when the network does not rotate.
    package let neighbours: [RoomWindow]

    /// The current period and then its neighbours.
    package var all: [RoomWindow] { [current] + neighbours }

    /// The keys to try on a message of `topic`: its own period's first, because a sender takes topic
    /// and key from one clock.
    package func keys(forTopic topic: String) -> [SecretBytes] {
        all.filter { $0.topic == topic }.map(\.sealKey) + all.filter { $0.topic != topic }.map(\.sealKey)
    }
}

/// Topics, keys and rendezvous names of a network at any moment (contract J.2, I.10).
package struct RoomSchedule: Sendable {
    private let token: NetworkToken

    package init(_ token: NetworkToken) {
        self.token = token
    }

    /// The period numbered `counter`.
    package func window(_ counter: UInt64) throws(CryptoError) -> RoomWindow {
        guard let topic = token.topicPassword.text(counter: counter),
            let seal = token.sealPassword.text(counter: counter)
        else { throw .invalidLength("one-time password") }
        var key = try DerivedName.bytes(seal)
        return RoomWindow(
            counter: counter, topic: try DerivedName.string(topic), sealKey: SecretBytes(consuming: &key))
    }

    /// The period at `time` and its neighbours.
    package func windows(at time: UnixTime) throws(CryptoError) -> RoomWindows {
        let counter = counter(at: time)
        var neighbours: [RoomWindow] = []
        if counter > 0 { neighbours.append(try window(counter - 1)) }
        if nextRotation(after: time) != nil { neighbours.append(try window(counter + 1)) }
        return RoomWindows(current: try window(counter), neighbours: neighbours)
    }

    /// When topic and key change next, or nil when they never do.
    package func nextRotation(after time: UnixTime) -> UnixTime? {
        let (next, overflow) = counter(at: time).addingReportingOverflow(1)
        return overflow ? nil : token.sealPassword.start(of: next)
    }

    /// The names to announce and to look for in a DHT: the present one, and the one before it.
    package func rendezvous(at time: UnixTime) throws(CryptoError) -> [String] {
        guard let password = token.rendezvousPassword, let counter = password.counter(at: time) else {
            return [token.rendezvousName]
        }
        var names: [String] = []
        for counter in counter == 0 ? [0] : [counter, counter - 1] {
            guard let text = password.text(counter: counter) else {
                throw .invalidLength("one-time password")
            }
            names.append(try DerivedName.string(text))
        }
        return names
    }

    private func counter(at time: UnixTime) -> UInt64 {
        // A valid token's interval is never 0.
        token.sealPassword.counter(at: time) ?? 0
    }
}
