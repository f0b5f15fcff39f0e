import Ledger
import LibP2P
import Multiformats
import TestSupport
import Testing
import Timing

@testable import MeshNetwork

/// Two or more nodes that run admission with one another on virtual time, and a network between them
/// that delivers at once.
struct AdmissionWorld {
    struct Node {
        let peer: PeerID
        var admission: Admission
        var standings: [Admission.Standing?] = []
        var disconnects = 0
    }

    var nodes: [Node] = []
    var now = Instant.zero
    /// Set to change what travels: sender, whether it is an answer, bytes.
    var tamper: (Int, Bool, [UInt8]) -> [UInt8]? = { $2 }
    private var streams: [UInt64: Int] = [:]
    private var nextStream: UInt64 = 0

    static func binding(_ first: Int, _ second: Int) -> [UInt8] {
        Crypto.sha256([UInt8(min(first, second)), UInt8(max(first, second))])
    }

    mutating func add(_ token: NetworkToken) -> Int {
        let peer = Identity.generate().peerID
        nodes.append(
            Node(peer: peer, admission: Admission(localPeer: peer, proofs: AdmissionProof(token: token))))
        return nodes.count - 1
    }

    func connection(_ node: Int, to other: Int, dialled: Bool) -> ConnectionInfo {
        let address = Multiaddr.loopback
        return ConnectionInfo(
            id: ConnectionID(rawValue: UInt64(other)), direction: dialled ? .outbound : .inbound,
            remoteAddress: address, localAddress: address, channelBinding: Self.binding(node, other))
    }

    mutating func connect(_ dialler: Int, _ other: Int, protocols: Set<ProtocolID> = [Admission.protocolID]) {
        for (node, peer, dialled) in [(dialler, other, true), (other, dialler, false)] {
            feed(.connected(nodes[peer].peer, connection(node, to: peer, dialled: dialled)), to: node)
        }
        for (node, peer) in [(dialler, other), (other, dialler)] {
            feed(.identified(nodes[peer].peer, protocols: protocols), to: node)
        }
    }

    mutating func feed(_ input: Admission.Input, to node: Int) {
        for effect in nodes[node].admission.receive(input, at: now) { perform(effect, of: node) }
        if let fault = DeadlineCheck.fault(
            of: nodes[node].admission, at: now, deadline: { $0.nextDeadline },
            tick: { _ = $0.receive(.tick, at: $1) })
        {
            Issue.record("\(fault)")
        }
    }

    private func index(_ peer: PeerID) -> Int { nodes.firstIndex { $0.peer == peer } ?? -1 }

    private mutating func perform(_ effect: Admission.Effect, of node: Int) {
        switch effect {
        case .open(let peer):
            feed(.opened(peer, ConnectionID(rawValue: UInt64(index(peer)))), to: node)
        case .sendRequest(let peer, let bytes):
            guard let bytes = tamper(node, false, bytes) else { return feed(.failed(peer), to: node) }
            nextStream += 1
            streams[nextStream] = node
            feed(
                .request(nodes[node].peer, ConnectionID(rawValue: UInt64(node)), stream: nextStream, bytes),
                to: index(peer))
        case .sendAnswer(let stream, let bytes):
            guard let asker = streams.removeValue(forKey: stream) else { return }
            guard let bytes = tamper(node, true, bytes) else {
                return feed(.failed(nodes[node].peer), to: asker)
            }
            feed(.answer(nodes[node].peer, ConnectionID(rawValue: UInt64(node)), bytes), to: asker)
        case .reject(let stream):
            guard let asker = streams.removeValue(forKey: stream) else { return }
            feed(.failed(nodes[node].peer), to: asker)
        case .changed(_, let standing): nodes[node].standings.append(standing)
        case .disconnect: nodes[node].disconnects += 1
        }
    }

    mutating func advance(_ duration: Duration) {
        let end = now + duration
        while let (node, due) = nodes.indices.compactMap({ index in
            nodes[index].admission.nextDeadline.map { (index, $0) }
        }).min(by: { $0.1 < $1.1 }), due <= end {
            now = max(now, due)
            feed(.tick, to: node)
        }
        now = end
    }

    func standing(_ node: Int, _ other: Int) -> Admission.Standing? {
        nodes[node].admission.standing(of: nodes[other].peer)
    }
}

extension Multiaddr {
    /// Any address will do where none is dialled.
    static var loopback: Multiaddr {
        guard let address = try? Multiaddr("/ip4/127.0.0.1/tcp/4001") else { preconditionFailure() }
        return address
    }
}

@Suite("Admission")
struct AdmissionTests {
    @Test("two holders of a token admit one another in one round trip")
    func mutual() throws {
        let token = try NetworkToken.generate()
        var world = AdmissionWorld()
        let (a, b) = (world.add(token), world.add(token))
        world.connect(a, b)
        #expect(world.standing(a, b) == .admitted && world.standing(b, a) == .admitted)
        #expect(world.nodes[a].standings == [.unknown, .proving, .admitted])
        #expect(world.nodes[a].admission.counters.admitted == 1)
        world.feed(.disconnected(world.nodes[b].peer), to: a)
        #expect(world.standing(a, b) == nil)
    }

    @Test("the token may rotate or not: admission follows from its secrets alone")
    func acrossEncodings() throws {
        let token = try NetworkToken.generate(rotation: .every(seconds: 15))
        var world = AdmissionWorld()
        let (a, b) = (world.add(token), world.add(try NetworkToken(token.text)))
        world.now += .seconds(100_000)
        world.connect(a, b)
        #expect(world.standing(a, b) == .admitted)
    }

    @Test("a holder of another token is refused, tried more and more rarely, and cut off")
    func otherToken() throws {
        var world = AdmissionWorld()
        let (a, b) = (world.add(try .generate()), world.add(try .generate()))
        world.connect(a, b)
        #expect(world.standing(a, b) == .refused)
        #expect(world.standing(b, a) == .refused)
        world.advance(.seconds(600))
        #expect(world.standing(a, b) == .refused && world.standing(b, a) == .refused)
        #expect(world.nodes[a].disconnects + world.nodes[b].disconnects > 0)
        let attempts =
            world.nodes[a].admission.counters.badProofs + world.nodes[b].admission.counters.badProofs
        #expect(attempts < 100, "\(attempts) in ten minutes")
    }

    @Test("a proof is worth nothing on another connection, in the other role, or for another peer")
    func binding() throws {
        let proofs = AdmissionProof(token: try .generate())
        let (a, b, c) = (Identity.generate().peerID, Identity.generate().peerID, Identity.generate().peerID)
        let proof = proofs.make(role: .initiator, initiator: a, responder: b, channelBinding: [1])
        #expect(proof.count == AdmissionProof.length)
        #expect(proofs.isValid(proof, role: .initiator, initiator: a, responder: b, channelBinding: [1]))
        #expect(!proofs.isValid(proof, role: .initiator, initiator: a, responder: b, channelBinding: [2]))
        #expect(!proofs.isValid(proof, role: .responder, initiator: a, responder: b, channelBinding: [1]))
        #expect(!proofs.isValid(proof, role: .initiator, initiator: b, responder: a, channelBinding: [1]))
        #expect(!proofs.isValid(proof, role: .initiator, initiator: a, responder: c, channelBinding: [1]))
        #expect(
            !proofs.isValid(
                proof.dropLast(), role: .initiator, initiator: a, responder: b, channelBinding: [1]))
        #expect(!proofs.isValid([], role: .initiator, initiator: a, responder: b, channelBinding: [1]))
        let unbound = proofs.make(role: .initiator, initiator: a, responder: b, channelBinding: [])
        #expect(!proofs.isValid(unbound, role: .initiator, initiator: a, responder: b, channelBinding: []))
        let other = AdmissionProof(token: try .generate())
        #expect(!other.isValid(proof, role: .initiator, initiator: a, responder: b, channelBinding: [1]))
    }

    @Test("reflecting what a peer sent admits nobody")
    func reflection() throws {
        let token = try NetworkToken.generate()
        var world = AdmissionWorld()
        let (a, mirror) = (world.add(token), world.add(try .generate()))
        var seen: [UInt8] = []
        world.tamper = { node, isAnswer, bytes in
            if node == a, !isAnswer { seen = bytes }
            if node == mirror, isAnswer { return [1, 0] + seen.dropFirst() }
            if node == mirror, !isAnswer { return seen }
            return bytes
        }
        world.connect(a, mirror)
        world.advance(.seconds(120))
        #expect(world.standing(a, mirror) == .refused)
    }

    @Test("any changed byte, a cut or a longer message admits nobody", arguments: 0..<40)
    func tampering(place: Int) throws {
        let token = try NetworkToken.generate()
        for direction in [false, true] {
            var world = AdmissionWorld()
            let (a, b) = (world.add(token), world.add(token))
            world.tamper = { _, isAnswer, bytes in
                guard isAnswer == direction else { return bytes }
                var bytes = bytes
                switch place {
                case 38: bytes.removeLast()
                case 39: bytes.append(0)
                default: bytes[place % bytes.count] ^= 0x40
                }
                return bytes
            }
            world.connect(a, b)
            #expect(world.standing(a, b) != .admitted)
            // A responder whose answer is changed on the way has admitted the initiator, rightly.
            if !direction { #expect(world.standing(b, a) != .admitted) }
        }
    }

    @Test("when the dialler does not begin, the other side does")
    func dialledSideBegins() throws {
        let token = try NetworkToken.generate()
        var world = AdmissionWorld()
        let (a, b) = (world.add(token), world.add(token))
        var isLost = true
        world.tamper = { node, isAnswer, bytes in node == a && !isAnswer && isLost ? nil : bytes }
        world.connect(a, b)
        #expect(world.standing(a, b) == .proving)
        world.advance(.seconds(4))
        isLost = false
        #expect(world.standing(a, b) == .admitted && world.standing(b, a) == .admitted)
    }

    @Test("a stock node is a visitor until it writes in the room, and is not asked")
    func stock() throws {
        var world = AdmissionWorld()
        let (a, b) = (world.add(try .generate()), world.add(try .generate()))
        world.connect(a, b, protocols: ["/meshsub/1.1.0", "/edgevpn/0.1"])
        world.advance(.seconds(600))
        #expect(world.standing(a, b) == .visitor)
        #expect(world.nodes[a].disconnects == 0)
        world.feed(.wroteInRoom(world.nodes[b].peer), to: a)
        #expect(world.standing(a, b) == .stock)
        #expect(world.nodes[a].standings == [.unknown, .visitor, .stock])
        // A push can say later that it speaks admission after all.
        world.feed(.identified(world.nodes[b].peer, protocols: [Admission.protocolID]), to: a)
        #expect(world.standing(a, b) != .stock)
        let stranger = world.add(try .generate())
        world.connect(a, stranger, protocols: ["/ipfs/ping/1.0.0"])
        #expect(world.standing(a, stranger) == .unknown)
    }

    @Test("what a peer may hold follows from what it has shown")
    func peerStanding() {
        #expect(Admission.Standing.admitted.peerStanding == .admitted)
        #expect(Admission.Standing.stock.peerStanding == .member)
        for standing: Admission.Standing in [.unknown, .proving, .visitor, .refused] {
            #expect(standing.peerStanding == .unproven)
        }
    }

    @Test("a peer that speaks none of the room's protocols is cut off after 20 s, one that does is not")
    func silence() throws {
        let token = try NetworkToken.generate()
        var world = AdmissionWorld()
        let (a, silent, visitor, member) = (
            world.add(token), world.add(token), world.add(token), world.add(token)
        )
        world.connect(a, silent, protocols: ["/ipfs/ping/1.0.0"])
        world.connect(a, visitor, protocols: ["/meshsub/1.1.0"])
        world.connect(a, member)
        world.advance(.milliseconds(19_999))
        #expect(world.nodes[a].disconnects == 0)
        world.advance(.milliseconds(1))
        #expect(world.nodes[a].disconnects == 1)
        world.advance(.seconds(3600))
        #expect(world.nodes[a].disconnects == 1)
        #expect(world.standing(a, visitor) == .visitor && world.standing(a, member) == .admitted)
    }

    @Test("a block proves its author only by an entry that the author has signed")
    func authorship() {
        let (author, other) = (Identity.generate(), Identity.generate())
        let id = EntryID(.machines, "10.1.0.1")
        var own = Entry(value: "{}", version: 1)
        own.sign(at: id, with: author)
        let block = Block(storage: [.machines: ["10.1.0.1": own]])
        #expect(block.isWritten(by: author.peerID))
        // Somebody else's block, sealed and sent again in another's name.
        #expect(!block.isWritten(by: other.peerID))
        var forged = own
        forged.owner = LedgerText(other.peerID.description)
        #expect(!Block(storage: [.machines: ["10.1.0.1": forged]]).isWritten(by: other.peerID))
        #expect(!Block(storage: [.machines: ["10.1.0.2": own]]).isWritten(by: author.peerID))
        #expect(!Block().isWritten(by: author.peerID))
    }

    @Test("a peer that sends bad proofs all the time is answered a few times a minute")
    func rateLimit() throws {
        var world = AdmissionWorld()
        let (a, b) = (world.add(try .generate()), world.add(try .generate()))
        world.connect(a, b, protocols: [])
        let connection = ConnectionID(rawValue: UInt64(b))
        for stream in 0..<1000 as Range<UInt64> {
            world.feed(
                .request(
                    world.nodes[b].peer, connection, stream: stream, [1] + [UInt8](repeating: 0, count: 32)),
                to: a)
            world.now += .milliseconds(60)
        }
        #expect(world.nodes[a].admission.counters.badProofs <= 8)
        #expect(world.nodes[a].admission.counters.rateLimited >= 990)
        // A connection that is not known proves nothing.
        world.feed(.request(world.nodes[b].peer, ConnectionID(rawValue: 99), stream: 0, []), to: a)
        #expect(world.standing(a, b) == .refused)
    }
}
