import Foundation
import LibP2P
import TestSupport

@testable import GossipSub

/// `pubsub.json`: messages and RPCs of go-libp2p.
struct GossipVectors: Decodable {
    struct Key: Decodable {
        var name: String
        var peerId: String
        var privateKeyProtobuf: String?
    }

    struct Message: Decodable {
        var from: String?
        var data: String?
        var seqno: String?
        var topic: String?
        var signature: String?
        var key: String?
    }

    struct Subscription: Decodable {
        var subscribe: Bool
        var topic: String
        var requestsPartial: Bool?
    }

    struct IDs: Decodable {
        var topic: String?
        var messageIds: [String]
    }

    struct Topic: Decodable {
        var topic: String
    }

    struct Prune: Decodable {
        struct Peer: Decodable {}
        var topic: String
        var backoff: UInt64?
        var peers: [Peer]
    }

    struct Control: Decodable {
        struct Extensions: Decodable {}
        var ihave: [IDs]?
        var iwant: [IDs]?
        var graft: [Topic]?
        var prune: [Prune]?
        var idontwant: [IDs]?
        var extensions: Extensions?
    }

    struct RPCContent: Decodable {
        var subscriptions: [Subscription]?
        var publish: [Message]?
        var control: Control?
    }

    struct Case: Decodable {
        var kind: String
        var name: String
        var framed: String?
        var rpcBytes: String?
        var message: Message?
        var messageBytes: String?
        var messageId: String?
        var signedBytes: String?
        var signatureIsDeterministic: Bool?
        var signer: String?
        var valid: Bool?
        var rpc: RPCContent?
        var delivered: Bool?
        var deliveredCount: Int?
        var receiverPeerId: String?
        var senderPeerId: String?
    }

    var keys: [Key]
    var cases: [Case]

    func cases(_ kind: String) -> [Case] { cases.filter { $0.kind == kind } }

    static func load() throws -> GossipVectors {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(GossipVectors.self, from: Vectors.data("pubsub.json"))
    }

    /// The bytes of hex, or nothing.
    static func bytes(_ hex: String?) throws -> [UInt8] {
        guard let bytes = Hex.decode(hex ?? "") else { throw CocoaError(.coderReadCorrupt) }
        return bytes
    }
}

extension GossipVectors.Message {
    var fields: GossipMessage.Fields {
        var fields = GossipMessage.Fields()
        fields.from = from.flatMap(Hex.decode)?[...]
        fields.data = data.flatMap(Hex.decode)?[...]
        fields.sequenceNumber = seqno.flatMap(Hex.decode)?[...]
        fields.topic = topic.map { Array($0.utf8)[...] }
        fields.signature = signature.flatMap(Hex.decode)?[...]
        fields.key = key.flatMap(Hex.decode)?[...]
        return fields
    }
}

extension GossipVectors.RPCContent {
    /// The content as this node keeps it.
    var rpc: RPC {
        func ids(_ lists: [GossipVectors.IDs]?) -> [MessageID] {
            (lists ?? []).flatMap(\.messageIds).compactMap { Hex.decode($0).map(MessageID.init(bytes:)) }
        }
        var rpc = RPC()
        rpc.subscriptions = (subscriptions ?? []).map {
            RPC.Subscription(subscribes: $0.subscribe, topic: Topic($0.topic))
        }
        rpc.messages = (publish ?? []).map { GossipMessage($0.fields) }
        rpc.ihave = (control?.ihave ?? []).map { RPC.IHave(topic: Topic($0.topic ?? ""), ids: ids([$0])) }
        rpc.iwant = ids(control?.iwant)
        rpc.graft = (control?.graft ?? []).map { Topic($0.topic) }
        rpc.prune = (control?.prune ?? []).map { RPC.Prune(topic: Topic($0.topic), backoff: $0.backoff) }
        rpc.idontwant = ids(control?.idontwant)
        return rpc
    }

    /// Whether this node could have written the same: no partial messages, peer exchange, extensions
    /// or empty parts.
    var isOurKind: Bool {
        let plain = (subscriptions ?? []).allSatisfy { $0.requestsPartial == nil }
        let noExchange = (control?.prune ?? []).allSatisfy { $0.peers.isEmpty }
        let saysSomething = control == nil || !rpc.withoutMessages.isEmpty
        return plain && noExchange && saysSomething && control?.extensions == nil
            && (control?.iwant?.count ?? 0) < 2
    }
}

extension RPC {
    fileprivate var withoutMessages: RPC {
        var rpc = self
        rpc.messages = []
        rpc.subscriptions = []
        return rpc
    }
}
