internal import LibP2P

/// The messages of the last heartbeats, to be served to peers that missed them. Bounded in number and
/// in bytes; the oldest go first.
struct MessageCache: Sendable {
    private struct Entry {
        let message: GossipMessage
        let topic: Topic
        var served: [PeerID: Int] = [:]
    }

    private let gossipWindows: Int
    private let maximumMessages: Int
    private let maximumBytes: Int
    private let maximumServed: Int
    /// Newest first.
    private var windows: [[MessageID]]
    private var entries: [MessageID: Entry] = [:]
    private(set) var byteCount = 0

    init(_ parameters: Parameters) {
        gossipWindows = parameters.historyGossip
        maximumMessages = parameters.maximumCachedMessages
        maximumBytes = parameters.maximumCachedBytes
        maximumServed = parameters.maximumRetransmissions
        windows = Array(repeating: [], count: max(parameters.historyLength, 1))
    }

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }

    mutating func insert(_ message: GossipMessage, id: MessageID, topic: Topic) {
        guard entries[id] == nil else { return }
        while !entries.isEmpty,
            entries.count >= maximumMessages || byteCount + message.encoded.count > maximumBytes
        {
            removeOldest()
        }
        entries[id] = Entry(message: message, topic: topic)
        windows[0].append(id)
        byteCount += message.encoded.count
    }

    /// The message of `id` for `peer`; nil when it is gone or was served to the peer often enough.
    mutating func serve(_ id: MessageID, to peer: PeerID) -> GossipMessage? {
        guard let entry = entries[id], entry.served[peer, default: 0] < maximumServed else { return nil }
        entries[id]?.served[peer, default: 0] += 1
        return entry.message
    }

    /// The IDs to gossip about, or of the newest `windows` alone, newest first, by topic in a fixed order.
    func gossip(windows count: Int? = nil) -> [(topic: Topic, ids: [MessageID])] {
        var order: [Topic] = []
        var ids: [Topic: [MessageID]] = [:]
        for id in windows.prefix(count ?? gossipWindows).joined() {
            guard let topic = entries[id]?.topic else { continue }
            if ids[topic] == nil { order.append(topic) }
            ids[topic, default: []].append(id)
        }
        return order.map { ($0, ids[$0, default: []]) }
    }

    /// Ends the newest window and forgets the oldest.
    mutating func shift() {
        for id in windows.removeLast() { remove(id) }
        windows.insert([], at: 0)
    }

    private mutating func removeOldest() {
        guard let index = windows.lastIndex(where: { !$0.isEmpty }) else { return }
        remove(windows[index].removeFirst())
    }

    private mutating func remove(_ id: MessageID) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        byteCount -= entry.message.encoded.count
    }
}
