internal import LibP2P
internal import OrderedCollections
internal import Timing

/// How messages travel among our own nodes: a copy goes to few, the others are told and ask.
///
/// In a mesh of eight neighbours each message would reach a node seven times. So a node sends a message it
/// has got on to one of them, and announces it to the others a little later, unless they have shown
/// meanwhile that they know it. A node asks one of those that announce a message, and the next one when
/// that fails, and each again as often as it serves. IHAVE and IWANT are those of the specification; stock
/// peers get every message at once.
extension Router {
    /// What a peer is to be told of, and when.
    struct Announcement: Sendable {
        var due: Instant
        var ids: OrderedDictionary<MessageID, Topic> = [:]
    }

    /// A message that was asked for.
    struct Want: Sendable {
        /// Until when the peer that was asked has time.
        var until: Instant
        /// The peers that have it, in the order in which they are asked: the last was asked last.
        var holders: OrderedSet<PeerID> = []
        /// How often one of them was asked.
        var questions = 0

        /// Whether each was asked.
        var isRepeated: Bool { questions > holders.count }

        static let maximumHolders = 8
    }

    /// Sends a message to those of `receivers` that want each at once and to `eager` others, and has the
    /// rest told. Returns to how many it was sent.
    mutating func spread(
        _ message: GossipMessage, _ id: MessageID, _ topic: Topic, to receivers: [PeerID], eager: Int,
        at now: Instant
    ) -> Int {
        var rpc = RPC()
        rpc.messages = [message]
        var atOnce = Set(receivers)
        if message.encoded.count > parameters.smallMessage {
            let asking = receivers.filter { peers[$0]?.asks ?? false }
            atOnce.subtract(asking.shuffled(using: &generator).dropFirst(eager))
        }
        var count = 0
        for peer in receivers {
            if !atOnce.contains(peer), announce(id, topic, to: peer, at: now) { continue }
            if send(rpc, to: peer) { count += 1 }
        }
        return count
    }

    /// Has `peer` told of a message; false when too much waits for it already.
    private mutating func announce(_ id: MessageID, _ topic: Topic, to peer: PeerID, at now: Instant) -> Bool
    {
        let due =
            now + generator.duration(in: parameters.shortestAnnouncement...parameters.longestAnnouncement)
        var announcement = announcements[peer] ?? Announcement(due: due)
        guard announcement.ids.count < parameters.maximumAnnounced else { return false }
        announcement.ids[id] = topic
        announcements[peer] = announcement
        return true
    }

    /// `peer` has shown that it knows the message.
    mutating func knows(_ peer: PeerID, _ id: MessageID) {
        guard announcements[peer]?.ids.removeValue(forKey: id) != nil else { return }
        if announcements[peer]?.ids.isEmpty ?? false { announcements[peer] = nil }
    }

    /// When the next announcement or the next question to another peer is due.
    var announcementDeadline: Instant? {
        (announcements.values.map(\.due) + [wantDue].compactMap { $0 }).min()
    }

    mutating func performAnnouncements(at now: Instant) {
        let due = announcements.filter { $0.value.due <= now }
        for (peer, announcement) in due {
            announcements[peer] = nil
            var rpc = RPC()
            for (id, topic) in announcement.ids {
                if let index = rpc.ihave.firstIndex(where: { $0.topic == topic }) {
                    rpc.ihave[index].ids.append(id)
                } else {
                    rpc.ihave.append(RPC.IHave(topic: topic, ids: [id]))
                }
            }
            if send(rpc, to: peer) { counters.announced += announcement.ids.count }
        }
        if let due = wantDue, due <= now { askOthers(at: now) { $0.until <= now } }
    }

    // MARK: Asking

    /// Notes that `peer` has a message that is not here. Says whether it is to be asked for it now: nobody
    /// has been asked lately, and there is room to remember it.
    mutating func mayAsk(_ peer: PeerID, for id: MessageID, at now: Instant) -> Bool {
        if let want = wanted[id], want.until > now {
            guard want.holders.count < Want.maximumHolders, !want.holders.contains(peer) else { return false }
            // Who has not been asked comes before those who did not answer.
            wanted[id]?.holders.insert(peer, at: max(want.holders.count - want.questions, 0))
            return false
        }
        if wanted[id] == nil, wanted.count >= parameters.maximumWanted,
            now >= wantedChecked + parameters.wantRetry
        {
            wantedChecked = now
            // Who asks in vain again makes room for who asks first.
            wanted = wanted.filter { $0.value.until > now && !$0.value.isRepeated }
        }
        guard wanted[id] != nil || wanted.count < parameters.maximumWanted else { return false }
        want(id, from: peer, at: now)
        return true
    }

    private mutating func want(_ id: MessageID, from peer: PeerID, at now: Instant) {
        let until = now + parameters.wantRetry
        var want = wanted[id] ?? Want(until: until)
        want.until = until
        want.holders.remove(peer)
        want.holders.append(peer)
        want.questions += 1
        wanted[id] = want
        wantDue = min(wantDue ?? until, until)
    }

    /// The peers that are known to have the message, which has come now.
    mutating func holders(of id: MessageID) -> Set<PeerID> {
        Set(wanted.removeValue(forKey: id)?.holders ?? [])
    }

    /// Asks the next holder of each message whose question `isOver`.
    private mutating func askOthers(at now: Instant, where isOver: (Want) -> Bool) {
        var questions: OrderedDictionary<PeerID, RPC> = [:]
        let over = wanted.filter { isOver($0.value) }
        for (id, want) in over.sorted(by: { $0.key.bytes.lexicographicallyPrecedes($1.key.bytes) }) {
            guard want.questions < want.holders.count * parameters.maximumRetransmissions,
                let next = want.holders.first(where: { peers[$0]?.isOpen ?? false })
            else {
                wanted[id] = nil
                continue
            }
            self.want(id, from: next, at: now)
            questions[next, default: RPC()].iwant.append(id)
        }
        for (peer, rpc) in questions { send(rpc, to: peer) }
        wantDue = wanted.values.map(\.until).min()
    }

    /// `peer` is gone: what it was asked for is asked of others.
    mutating func forgetAnnouncements(of peer: PeerID, at now: Instant) {
        announcements[peer] = nil
        askOthers(at: now) { $0.holders.last == peer }
        for id in wanted.keys { wanted[id]?.holders.remove(peer) }
    }
}
