internal import GossipSub
package import Ledger
internal import LibP2P
internal import MeshNetwork
internal import Timing

/// What a node has above its overlay: the ledger, and the room that spreads its changes.
struct LedgerMember {
    var replication: Replication
    var router: Router
    var author: MessageAuthor
}

extension OverlayWorld {
    private static let topic: Topic = "9c805d16fc8468dc721125dc1430ba4d"
    /// The room's key never rotates here.
    private static let codec = RoomCodec(limit: 1 << 20)
    private static let sealKey = SecretBytes(copying: [UInt8](repeating: 7, count: 32))
    /// The wall clock of all nodes when virtual time began.
    private static let epoch = UnixTime(seconds: 1_767_225_600)

    private var moment: Moment { Moment(instant: now, wall: Self.epoch + (now - .zero)) }

    /// Opens a ledger on every node, those that start later included: each as it was stored when every node had an
    /// address and a heartbeat in it, as after a power cut.
    package mutating func openLedgers() {
        var ledger = Ledger()
        for index in nodes.indices {
            let own = LedgerText(nodes[index].peer.description)
            let address = EntryID(.machines, LedgerText("10.1.\(index / 250).\(index % 250 + 1)"))
            let name = LedgerText("node-\(index)")
            let value = LedgerText(
                "{\"PeerID\":\"\(own)\",\"Hostname\":\"\(name)\",\"OS\":\"linux\",\"Arch\":\"amd64\",\"Address\":\"\(address.key)\",\"Version\":\"\"}"
            )
            let beat = LedgerText("\"\(GoTime.rfc3339(moment.wall))\"")
            let identity = nodes[index].identity
            // Keys and versions are this world's own, so that nothing is refused.
            _ = try? ledger.put(address, value: value, by: identity, at: moment.wall)
            _ = try? ledger.put(EntryID(.healthcheck, own), value: beat, by: identity, at: moment.wall)
        }
        stored = ledger.block(at: moment.wall)
        for index in nodes.indices where nodes[index].overlay != nil { openLedger(index) }
        for (_, connection) in connections.sorted(by: { $0.key < $1.key })
        where connection.held == [true, true] {
            let (dialler, listener) = (connection.ends[0], connection.ends[1])
            admit(dialler, nodes[listener].peer, .outbound)
            admit(listener, nodes[dialler].peer, .inbound)
        }
        for index in nodes.indices {
            feed(index, ledger: .present(nodes[index].overlay?.present ?? []))
        }
    }

    /// Writes a value on one node.
    package mutating func write(_ id: EntryID, _ value: LedgerText, on index: Int) {
        feed(index, ledger: .write([.put(id, value: value)], durable: false))
    }

    /// Whether every running node holds `value`.
    package func allHold(_ id: EntryID, _ value: LedgerText) -> Bool {
        nodes.allSatisfy { $0.member.map { $0.replication.ledger.entry(id)?.value == value } ?? true }
    }

    /// How many entries the node's ledger holds.
    package func ledgerSize(_ index: Int) -> Int {
        nodes[index].member?.replication.ledger.usage.total.entries ?? 0
    }

    mutating func openLedger(_ index: Int) {
        guard let stored else { return }
        let (identity, seed) = (nodes[index].identity, random.next())
        nodes[index].member = LedgerMember(
            replication: Replication(
                identity: identity, stored: stored, generator: SeededGenerator(seed: seed), at: now),
            router: Router(
                localPeer: identity.peerID, generator: SeededGenerator(seed: seed &+ 1), at: now),
            author: MessageAuthor(identity: identity))
        feed(index, room: .subscribe(Self.topic, validates: true))
        feed(index, ledger: .tick)
    }

    mutating func admit(_ index: Int, _ peer: PeerID, _ direction: ConnectionDirection) {
        guard nodes[index].member != nil else { return }
        feed(index, room: .peerConnected(peer, direction, isDirect: false))
        feed(index, room: .peerAsks(peer, true))
        feed(index, room: .streamOpened(peer))
        feed(index, ledger: .peerAdmitted(peer))
    }

    mutating func dismiss(_ index: Int, _ peer: PeerID) {
        feed(index, room: .peerDisconnected(peer))
        feed(index, ledger: .peerLeft(peer))
    }

    mutating func feed(_ index: Int, ledger input: Replication.Input) {
        let moment = moment
        guard let effects = nodes[index].member?.replication.receive(input, at: moment) else { return }
        for effect in effects {
            switch effect {
            case .publish(let block): publish(block, from: index)
            case .send(let peer, let bytes): transmit(index, to: peer, .ledger, bytes)
            case .persist: feed(index, ledger: .persisted(succeeded: true))
            case .changed, .refused, .rejected, .caughtUp: break
            }
        }
        setTimer(index, .ledger, nodes[index].member?.replication.nextDeadline)
    }

    mutating func feed(_ index: Int, room input: Router.Input) {
        guard let effects = nodes[index].member?.router.receive(input, at: now) else { return }
        for effect in effects {
            switch effect {
            case .send(let rpc, let peer):
                transmit(index, to: peer, .room, rpc.encoded)
                feed(index, room: .sent(peer))
            case .deliver(let message, let id, _):
                guard let author = message.author,
                    let block = try? Self.codec.decode(Array(message.data), keys: [Self.sealKey])
                else {
                    feed(index, room: .verdict(.reject, id))
                    continue
                }
                feed(index, ledger: .roomBlock(block, author: author))
                feed(index, room: .verdict(.accept, id))
            case .resetStream: break
            }
        }
        setTimer(index, .room, nodes[index].member?.router.nextDeadline)
    }

    private mutating func publish(_ block: Block, from index: Int) {
        let wall = moment.wall
        let nonce = (0..<12).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        guard let data = try? Self.codec.encode(block, key: Self.sealKey, nonce: nonce),
            let message = nodes[index].member?.author.message(topic: Self.topic, data: data, at: wall)
        else { return }
        feed(index, room: .publish(message))
    }
}
