package import Multiformats

extension RPC {
    /// How much of one frame is kept. A frame may hold millions of entries of two bytes, so what is
    /// above a limit is skipped unread; no honest router comes near.
    enum Limits {
        static let subscriptions = 512
        static let messages = 1024
        static let control = 512
        static let ids = 8192
    }

    /// Reads a frame's body. Unknown fields, peer exchange, partial messages and extensions are
    /// skipped, and so are entries whose topic or ID is too long.
    ///
    /// - Throws: `WireError` when it is no protobuf of this schema; the stream is to be reset.
    package init(parsing bytes: ArraySlice<UInt8>) throws(WireError) {
        var reader = ProtobufFields(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: try addSubscription(try field.bytes())
            case 2:
                let body = try field.bytes()
                guard messages.count < Limits.messages else { continue }
                messages.append(try GossipMessage(parsing: body))
            case 3: try addControl(try field.bytes())
            default: continue
            }
        }
    }

    private mutating func addSubscription(_ bytes: ArraySlice<UInt8>) throws(WireError) {
        var subscribes = false
        var topic: Topic?
        var reader = ProtobufFields(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: subscribes = try field.varint() != 0
            case 2: topic = Topic(bytes: try field.bytes())
            default: continue
            }
        }
        guard let topic, subscriptions.count < Limits.subscriptions else { return }
        subscriptions.append(Subscription(subscribes: subscribes, topic: topic))
    }

    private mutating func addControl(_ bytes: ArraySlice<UInt8>) throws(WireError) {
        var reader = ProtobufFields(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                let room = Limits.ids - ihave.reduce(0) { $0 + $1.ids.count }
                let entry = try TopicEntry(try field.bytes(), idLimit: room)
                guard let topic = entry.topic, ihave.count < Limits.control else { continue }
                ihave.append(IHave(topic: topic, ids: entry.ids))
            case 2: iwant += try Self.ids(in: try field.bytes(), limit: Limits.ids - iwant.count)
            case 3:
                let entry = try TopicEntry(try field.bytes(), idLimit: 0)
                guard let topic = entry.topic, graft.count < Limits.control else { continue }
                graft.append(topic)
            case 4:
                let entry = try TopicEntry(try field.bytes(), idLimit: 0)
                guard let topic = entry.topic, prune.count < Limits.control else { continue }
                prune.append(Prune(topic: topic, backoff: entry.backoff))
            case 5: idontwant += try Self.ids(in: try field.bytes(), limit: Limits.ids - idontwant.count)
            default: continue
            }
        }
    }

    /// The IDs of a list of field 1, at most `limit`.
    private static func ids(in bytes: ArraySlice<UInt8>, limit: Int) throws(WireError) -> [MessageID] {
        var ids: [MessageID] = []
        var reader = ProtobufFields(bytes)
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            let id = try field.bytes()
            if ids.count < limit, id.count <= MessageID.maximumLength {
                ids.append(MessageID(bytes: Array(id)))
            }
        }
        return ids
    }

    /// The body of an IHAVE, GRAFT or PRUNE, which share their first field.
    private struct TopicEntry {
        var topic: Topic?
        var ids: [MessageID] = []
        var backoff: UInt64?

        init(_ bytes: ArraySlice<UInt8>, idLimit: Int) throws(WireError) {
            var reader = ProtobufFields(bytes)
            while let field = try reader.next() {
                switch field.number {
                case 1: topic = Topic(bytes: try field.bytes())
                case 2:
                    // A message ID in an IHAVE, a peer for exchange, which is not read, in a PRUNE.
                    let id = try field.bytes()
                    guard ids.count < idLimit, id.count <= MessageID.maximumLength else { continue }
                    ids.append(MessageID(bytes: Array(id)))
                case 3: backoff = try field.varint()
                default: continue
                }
            }
        }
    }

    // MARK: Writing

    /// The frame's body without the length in front.
    package var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(encodedLengthEstimate)
        for subscription in subscriptions {
            var body: [UInt8] = []
            body.appendProtobuf(field: 1, varint: subscription.subscribes ? 1 : 0)
            body.appendProtobuf(field: 2, bytes: Array(subscription.topic.name.utf8))
            bytes.appendProtobuf(field: 1, bytes: body)
        }
        for message in messages { bytes.appendProtobuf(field: 2, bytes: message.encoded) }
        let control = encodedControl
        if !control.isEmpty { bytes.appendProtobuf(field: 3, bytes: control) }
        return bytes
    }

    /// At least the length of `encoded`, cheaply.
    package var encodedLengthEstimate: Int {
        var length = 16
        for subscription in subscriptions { length += subscription.topic.name.utf8.count + 12 }
        for message in messages { length += message.encoded.count + 12 }
        for list in ihave { length += list.topic.name.utf8.count + 12 + Self.length(of: list.ids) }
        length += Self.length(of: iwant) + Self.length(of: idontwant)
        for topic in graft { length += topic.name.utf8.count + 12 }
        for entry in prune { length += entry.topic.name.utf8.count + 24 }
        return length
    }

    private static func length(of ids: [MessageID]) -> Int {
        ids.reduce(12) { $0 + $1.bytes.count + 3 }
    }

    private var encodedControl: [UInt8] {
        var bytes: [UInt8] = []
        for list in ihave {
            var body: [UInt8] = []
            body.appendProtobuf(field: 1, bytes: Array(list.topic.name.utf8))
            for id in list.ids { body.appendProtobuf(field: 2, bytes: id.bytes) }
            bytes.appendProtobuf(field: 1, bytes: body)
        }
        Self.append(iwant, as: 2, to: &bytes)
        for topic in graft {
            var body: [UInt8] = []
            body.appendProtobuf(field: 1, bytes: Array(topic.name.utf8))
            bytes.appendProtobuf(field: 3, bytes: body)
        }
        for entry in prune {
            var body: [UInt8] = []
            body.appendProtobuf(field: 1, bytes: Array(entry.topic.name.utf8))
            if let backoff = entry.backoff { body.appendProtobuf(field: 3, varint: backoff) }
            bytes.appendProtobuf(field: 4, bytes: body)
        }
        Self.append(idontwant, as: 5, to: &bytes)
        return bytes
    }

    private static func append(_ ids: [MessageID], as field: UInt64, to bytes: inout [UInt8]) {
        guard !ids.isEmpty else { return }
        var body: [UInt8] = []
        for id in ids { body.appendProtobuf(field: 1, bytes: id.bytes) }
        bytes.appendProtobuf(field: field, bytes: body)
    }
}
