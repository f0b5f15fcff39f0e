package import Multiformats
package import Timing

/// Tells whether this node's key is in use on another machine, as after a disk was copied. No socket and no clock:
/// the driver dials and says what came of it.
///
/// The one thing that is believed is a connection that somebody has opened to this node and on which the other end
/// has proven this node's own key: whoever has only heard of this node, holds the network token or has kept what it
/// once said cannot make one, and an old one cannot be played again. Where the key may be is told by anybody, such
/// as by an announcement on the local link, and costs a dial now and then. Both machines dial one another, so that
/// both are told.
///
/// One who leads a dial of this node back to this node itself has proven nothing: such a connection has the channel
/// binding of one that this node has opened.
package struct CloneWatch: Sendable {
    package enum Input: Sendable {
        /// Somebody says that this node's ID is at addresses that are not its own.
        case heard(at: [Multiaddr])
        /// A connection on which the other end has proven this node's key, by its channel binding.
        case proven(binding: [UInt8], at: Multiaddr, isInbound: Bool)
        case tick
    }

    package enum Effect: Hashable, Sendable {
        /// Dial these, and expect this node's own key there.
        case look([Multiaddr])
        /// The key is on another machine, or no longer.
        case found(Multiaddr?)
    }

    /// For how long the key counts as being elsewhere after the last sign of it.
    static let lifetime = Duration.seconds(16)
    /// How often somebody who was found is dialled again, and how often what is heard is followed at most.
    static let pace = (known: Duration.seconds(5), heard: Duration.seconds(5))
    /// How long an inbound connection waits for news of the outbound one that it may be the other end of.
    static let patience = Duration.seconds(1)
    /// The most addresses that are dialled at once, and the most connections that are remembered.
    static let most = (addresses: 8, connections: 64)

    /// Where the other one last dialled from; nil while there is none.
    package private(set) var other: Multiaddr?
    private var lastSign: Instant?
    private var heard: [Multiaddr] = []
    private var lastLook: Instant?
    private var own: [(binding: [UInt8], at: Instant)] = []
    private var waiting: [(binding: [UInt8], from: Multiaddr, due: Instant)] = []

    package init() {}

    /// When `.tick` is wanted.
    package var nextDeadline: Instant? {
        ([lookDue, lastSign.map { $0 + Self.lifetime }] + waiting.map(\.due)).compactMap(\.self).min()
    }

    private var lookDue: Instant? {
        guard !heard.isEmpty else { return nil }
        guard let lastLook else { return .zero }
        return lastLook + (other == nil ? Self.pace.heard : Self.pace.known)
    }

    package mutating func receive(_ input: Input, at now: Instant) -> [Effect] {
        let before = other
        switch input {
        case .heard(let addresses):
            for address in addresses where !heard.contains(address) { heard.append(address) }
            heard = Array(heard.suffix(Self.most.addresses))
        case .proven(let binding, _, isInbound: false):
            own.append((binding, now))
            waiting.removeAll { $0.binding == binding }
        case .proven(let binding, let address, isInbound: true):
            guard !own.contains(where: { $0.binding == binding }), waiting.count < Self.most.connections
            else {
                break
            }
            waiting.append((binding, address, now + Self.patience))
        case .tick: break
        }
        for sign in waiting where sign.due <= now { (other, lastSign) = (sign.from, now) }
        waiting.removeAll { $0.due <= now }
        own = Array(own.filter { now - $0.at < Self.lifetime }.suffix(Self.most.connections))
        if let sign = lastSign, now >= sign + Self.lifetime { (other, lastSign) = (nil, nil) }
        var effects: [Effect] = []
        if let due = lookDue, due <= now {
            lastLook = now
            effects.append(.look(heard))
            // Told again it is followed again; who was found is followed as long as it is there.
            if other == nil { heard = [] }
        }
        if (before == nil) != (other == nil) { effects.append(.found(other)) }
        return effects
    }
}
