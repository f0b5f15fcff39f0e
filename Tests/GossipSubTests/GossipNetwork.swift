import LibP2P
import TestSupport
import Testing
import Timing

@testable import GossipSub

/// Routers in virtual time, joined by links that delay, lose, duplicate and reorder RPCs.
struct GossipNetwork {
    struct Node {
        var router: Router
        var author: MessageAuthor
        let identity: Identity
        var delivered: [(topic: Topic?, data: [UInt8], id: MessageID, at: Instant)] = []
        var sent = 0
        /// Bytes of frames, and copies of messages.
        var sentBytes = 0
        var copies = 0
        var resets: [PeerID] = []
        var verdict = Router.Verdict.accept
    }

    private struct InFlight {
        let at: Instant
        let order: Int
        let from: Int
        let to: Int
        let frame: [UInt8]
    }

    static let topic: Topic = "9c805d16fc8468dc721125dc1430ba4d"

    var nodes: [Node] = []
    var now = Instant.zero
    var generator: SeededGenerator
    var loss = 0.0
    /// Whether the nodes are our own.
    var asks = false
    var duplication = 0.0
    var delay: ClosedRange<Duration> = .milliseconds(1) ... .milliseconds(20)
    private var links: Set<[Int]> = []
    private var inFlight: [InFlight] = []
    private var order = 0
    private var checks = 0
    private var indices: [PeerID: Int] = [:]

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    mutating func addNode(_ parameters: Parameters = Parameters(), subscribed: Bool = true) -> Int {
        let bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let identity = (try? Identity(seed: SecretBytes(copying: bytes))) ?? Identity.generate()
        let router = Router(
            localPeer: identity.peerID, parameters: parameters,
            generator: SeededGenerator(seed: generator.next()), at: now)
        nodes.append(Node(router: router, author: MessageAuthor(identity: identity), identity: identity))
        indices[identity.peerID] = nodes.count - 1
        if subscribed { feed(.subscribe(Self.topic, validates: false), to: nodes.count - 1) }
        return nodes.count - 1
    }

    func peer(_ index: Int) -> PeerID { nodes[index].identity.peerID }

    /// Connects two nodes; `first` dials.
    mutating func connect(_ first: Int, _ second: Int) {
        guard first != second, links.insert([min(first, second), max(first, second)]).inserted else { return }
        feed(.peerConnected(peer(second), .outbound, isDirect: false), to: first)
        feed(.peerConnected(peer(first), .inbound, isDirect: false), to: second)
        if asks {
            feed(.peerAsks(peer(second), true), to: first)
            feed(.peerAsks(peer(first), true), to: second)
        }
        feed(.streamOpened(peer(second)), to: first)
        feed(.streamOpened(peer(first)), to: second)
    }

    mutating func connectAll() {
        for first in nodes.indices {
            for second in nodes.indices where second > first { connect(first, second) }
        }
    }

    mutating func disconnect(_ first: Int, _ second: Int) {
        guard links.remove([min(first, second), max(first, second)]) != nil else { return }
        inFlight.removeAll { [$0.from, $0.to].sorted() == [min(first, second), max(first, second)] }
        feed(.peerDisconnected(peer(second)), to: first)
        feed(.peerDisconnected(peer(first)), to: second)
    }

    @discardableResult
    mutating func publish(_ data: [UInt8], from index: Int) -> MessageID {
        let message = nodes[index].author.message(
            topic: Self.topic, data: data, at: UnixTime(nanoseconds: Int64(now.nanoseconds)))
        feed(.publish(message), to: index)
        return message.id
    }

    mutating func feed(_ input: Router.Input, to index: Int) {
        for effect in nodes[index].router.receive(input, at: now) {
            switch effect {
            case .send(let rpc, let peer):
                nodes[index].sent += 1
                nodes[index].sentBytes += rpc.encoded.count
                nodes[index].copies += rpc.messages.count
                guard let target = indices[peer] else { continue }
                let isLossy = !rpc.messages.isEmpty || !rpc.ihave.isEmpty || !rpc.iwant.isEmpty
                let lost = isLossy && Double.random(in: 0..<1, using: &generator) < loss
                if !lost { post(rpc, from: index, to: target, isOrdered: !isLossy) }
                if isLossy, Double.random(in: 0..<1, using: &generator) < duplication {
                    post(rpc, from: index, to: target, isOrdered: false)
                }
                feed(.sent(peer), to: index)
            case .deliver(let message, let id, _):
                nodes[index].delivered.append((message.topic, Array(message.data), id, now))
                feed(.verdict(nodes[index].verdict, id), to: index)
            case .resetStream(let peer, _): nodes[index].resets.append(peer)
            }
        }
        checks += 1
        if checks % 16 == 0,
            let fault = DeadlineCheck.fault(
                of: nodes[index].router, at: now, deadline: { $0.nextDeadline },
                tick: { _ = $0.receive(.tick, at: $1) })
        {
            Issue.record("\(fault)")
        }
    }

    private mutating func post(_ rpc: RPC, from: Int, to: Int, isOrdered: Bool) {
        order += 1
        // What changes state travels in order, as on a stream.
        let time = isOrdered ? delay.lowerBound : generator.duration(in: delay)
        inFlight.append(InFlight(at: now + time, order: order, from: from, to: to, frame: rpc.encoded))
    }

    mutating func run(until end: Instant) {
        while true {
            let next = inFlight.min { ($0.at, $0.order) < ($1.at, $1.order) }
            let tick = nodes.compactMap(\.router.nextDeadline).min()
            guard let moment = [next?.at, tick].compactMap({ $0 }).min(), moment <= end else { break }
            now = max(now, moment)
            if let next, next.at <= moment {
                inFlight.removeAll { $0.order == next.order }
                feed(.frame(next.frame, from: peer(next.from)), to: next.to)
            }
            for index in nodes.indices where nodes[index].router.nextDeadline.map({ $0 <= now }) ?? false {
                feed(.tick, to: index)
            }
        }
        now = max(now, end)
    }

    mutating func run(for time: Duration) { run(until: now + time) }

    func meshSize(_ index: Int) -> Int { nodes[index].router.mesh(of: Self.topic).count }
}
