internal import Coordination
internal import MeshNetwork
internal import Multiformats
internal import Timing

// What this node does not do while its key is in use on another machine. Two machines with one key are one member
// with one vote, so neither uses it, nor carries the API address, and the one whose K3s does not run leaves it so.
extension NodeCore {
    /// How long a node that starts listens for its key before it votes, leases and starts K3s: long enough to hear
    /// of one on the same link and to dial it.
    static let keyCheck = Duration.seconds(3)

    /// Whether this node's key is in use on another machine.
    package var isCloned: Bool { clones.other != nil }

    /// Whether this node keeps still as a member: its key is elsewhere, or may be, as it has just started.
    var keepsStill: Bool { isCloned || checksKeyUntil != nil }

    mutating func cloneStep(_ input: CloneWatch.Input, at now: Instant, _ effects: inout [Effect]) {
        for effect in clones.receive(input, at: now) {
            switch effect {
            case .look(let addresses): effects.append(.lookForOwnKey(addresses))
            case .found(let other): effects.append(.keyIsElsewhere(other))
            }
        }
        if let end = checksKeyUntil, now >= end { checksKeyUntil = nil }
    }

    /// What an operator is told of it.
    var cloneWarning: String? {
        guard let other = clones.other else { return nil }
        return
            "another machine, last seen at \(Self.host(of: other)), runs with this node's key: neither votes nor carries the"
            + " API address until one of the two is gone. Stop the copy, remove /usr/local/.kairos and K3s' data from it,"
            + " and start it again as a node of its own"
    }

    /// What a node waits for whose K3s was not started before its key was found elsewhere.
    var cloneObstacle: WaitLog.Obstacle? {
        guard let other = clones.other, assignment == nil else { return nil }
        return .init(
            step: .role,
            what: "the machine that has this node's key to be gone: it is at \(Self.host(of: other))",
            remedy:
                "stop one of the two; a copy becomes a node of its own once /usr/local/.kairos and K3s' data are"
                + " removed from it")
    }

    private static func host(of address: Multiaddr) -> String {
        address.ipAddress.map { "\($0)" } ?? "\(address)"
    }
}
