/// What two routers say to each other in one frame (contract/wire.md I.3).
package struct RPC: Hashable, Sendable {
    /// A topic that the sender enters or leaves.
    package struct Subscription: Hashable, Sendable {
        package var subscribes: Bool
        package var topic: Topic

        package init(subscribes: Bool, topic: Topic) {
            self.subscribes = subscribes
            self.topic = topic
        }
    }

    /// Messages that the sender has.
    package struct IHave: Hashable, Sendable {
        package var topic: Topic
        package var ids: [MessageID]

        package init(topic: Topic, ids: [MessageID]) {
            self.topic = topic
            self.ids = ids
        }
    }

    /// A topic's mesh that the sender leaves, or does not let the receiver into.
    package struct Prune: Hashable, Sendable {
        package var topic: Topic
        /// Seconds in which the receiver is not to ask again; nil from version 1.0 peers.
        package var backoff: UInt64?

        package init(topic: Topic, backoff: UInt64?) {
            self.topic = topic
            self.backoff = backoff
        }
    }

    package var subscriptions: [Subscription] = []
    package var messages: [GossipMessage] = []
    package var ihave: [IHave] = []
    /// The messages asked for, of all of the frame's lists together.
    package var iwant: [MessageID] = []
    package var graft: [Topic] = []
    package var prune: [Prune] = []
    /// Messages that the sender needs no more (1.2.0 and later, told to nobody here).
    package var idontwant: [MessageID] = []

    package init() {}

    /// Whether there is nothing to say.
    package var isEmpty: Bool { self == RPC() }
}
