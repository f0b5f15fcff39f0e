import Foundation
import LibP2P
import Multiformats

/// go-libp2p's daemon `p2pd`, driven over its unix socket with delimited protobufs.
final class GoDaemon {
    let peer: PeerID
    let addresses: [Multiaddr]
    private let child: Child
    private let folder: String
    private var controlPath: String { "\(folder)/control" }
    private var handlers = 0

    /// Starts a daemon that listens on TCP in `namespace`, with `options` such as `-tls=false`.
    init(in namespace: NetworkNamespace, options: [String] = []) throws {
        folder = FileManager.default.temporaryDirectory.path + "/kairos-p2pd-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        child = try namespace.start(
            Interop.requirement("p2pd"),
            [
                "-bootstrapPeers", "", "-q", "-relay=false", "-relayService=false", "-idleTimeout", "120s",
                "-listen",
                "/unix\(folder)/control", "-hostAddrs", "/ip4/\(namespace.address)/tcp/0",
            ] + options)
        // It says nothing when it is ready: the control socket does.
        var identity: [UInt8]?
        let end = Date().addingTimeInterval(20)
        while identity == nil, Date() < end {
            identity = try? Self.call("\(folder)/control", Self.request(0)).first(4)
            if identity == nil { usleep(50000) }
        }
        guard let identity else { throw InteropError("p2pd did not answer within 20 s") }
        var fields = ProtobufFields(identity)
        var peer: PeerID?
        var addresses: [Multiaddr] = []
        while let field = try fields.next() {
            if field.number == 1 { peer = try PeerID(bytes: field.bytes()) }
            if field.number == 2 { addresses.append(try Multiaddr(bytes: field.bytes())) }
        }
        guard let peer else { throw InteropError("p2pd did not say who it is") }
        self.peer = peer
        self.addresses = addresses.filter { $0.tcpEndpoint != nil }
    }

    deinit {
        child.stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Has the daemon dial `peer`.
    func connect(to peer: PeerID, at addresses: [Multiaddr]) throws {
        var connect: [UInt8] = []
        connect.appendProtobuf(field: 1, bytes: peer.bytes)
        for address in addresses { connect.appendProtobuf(field: 2, bytes: address.bytes) }
        connect.appendProtobuf(field: 3, varint: 10)
        _ = try Self.call(controlPath, Self.request(1, field: 2, connect))
    }

    /// Has the daemon end its connections to `peer`.
    func disconnect(from peer: PeerID) throws {
        var disconnect: [UInt8] = []
        disconnect.appendProtobuf(field: 1, bytes: peer.bytes)
        _ = try Self.call(controlPath, Self.request(7, field: 7, disconnect))
    }

    /// The peers that the daemon is connected to.
    func peers() throws -> [PeerID] {
        try Self.call(controlPath, Self.request(5)).all(6).compactMap { info in
            var fields = ProtobufFields(info)
            while let field = try fields.next() {
                if field.number == 1 { return try PeerID(bytes: field.bytes()) }
            }
            return nil
        }
    }

    /// Opens a stream from the daemon to `peer`.
    func openStream(to peer: PeerID, _ protocolID: ProtocolID) throws -> LocalSocket {
        var open: [UInt8] = []
        open.appendProtobuf(field: 1, bytes: peer.bytes)
        open.appendProtobuf(field: 2, bytes: protocolID.rawValue.utf8)
        open.appendProtobuf(field: 3, varint: 10)
        let socket = try LocalSocket(connectingTo: controlPath)
        _ = try Self.call(socket, Self.request(2, field: 3, open))
        return socket
    }

    /// Has the daemon echo on streams of `protocolID`.
    func serveEcho(_ protocolID: ProtocolID) throws {
        handlers += 1
        let path = "\(folder)/handler\(handlers)"
        let listener = try LocalSocket(listeningAt: path)
        var handler: [UInt8] = []
        handler.appendProtobuf(field: 1, bytes: try Multiaddr("/unix\(path)").bytes)
        handler.appendProtobuf(field: 2, bytes: protocolID.rawValue.utf8)
        handler.appendProtobuf(field: 3, varint: 0)
        _ = try Self.call(controlPath, Self.request(3, field: 4, handler))
        Thread {
            while let stream = try? listener.accept() {
                Thread {
                    // The daemon says first whose stream it is.
                    _ = try? stream.readMessage()
                    while let bytes = try? stream.read(), !bytes.isEmpty { try? stream.write(bytes) }
                    stream.closeOutput()
                }.start()
            }
        }.start()
    }

    // MARK: pubsub

    /// Publishes `data` on `topic`.
    func publish(_ data: [UInt8], on topic: String) throws {
        _ = try Self.call(controlPath, Self.request(8, field: 8, Self.pubsub(2, topic, data)))
    }

    /// Subscribes to `topic`; every message arrives on the socket as a delimited message whose field
    /// 2 is the data.
    func subscribe(_ topic: String) throws -> LocalSocket {
        let socket = try LocalSocket(connectingTo: controlPath)
        _ = try Self.call(socket, Self.request(8, field: 8, Self.pubsub(3, topic, [])))
        return socket
    }

    /// The peers that the daemon knows to be subscribed to `topic`.
    func subscribers(of topic: String) throws -> [PeerID] {
        let answer = try Self.call(controlPath, Self.request(8, field: 8, Self.pubsub(1, topic, [])))
        var fields = ProtobufFields(answer.first(7) ?? [])
        var peers: [PeerID] = []
        while let field = try fields.next() {
            if field.number == 2 { peers.append(try PeerID(bytes: field.bytes())) }
        }
        return peers
    }

    private static func pubsub(_ type: UInt64, _ topic: String, _ data: [UInt8]) -> [UInt8] {
        var request: [UInt8] = []
        request.appendProtobuf(field: 1, varint: type)
        request.appendProtobuf(field: 2, bytes: topic.utf8)
        if !data.isEmpty { request.appendProtobuf(field: 3, bytes: data) }
        return request
    }

    // MARK: requests

    /// An answer's fields.
    private struct Answer {
        let fields: [(number: UInt64, value: ArraySlice<UInt8>)]

        func first(_ number: UInt64) -> [UInt8]? { all(number).first }

        func all(_ number: UInt64) -> [[UInt8]] {
            fields.filter { $0.number == number }.map { Array($0.value) }
        }
    }

    private static func request(_ type: UInt64, field: UInt64? = nil, _ body: [UInt8] = []) -> [UInt8] {
        var request: [UInt8] = []
        request.appendProtobuf(field: 1, varint: type)
        if let field { request.appendProtobuf(field: field, bytes: body) }
        return request
    }

    private static func call(_ path: String, _ request: [UInt8]) throws -> Answer {
        try call(LocalSocket(connectingTo: path), request)
    }

    private static func call(_ socket: LocalSocket, _ request: [UInt8]) throws -> Answer {
        var message: [UInt8] = []
        message.appendLengthPrefixed(request)
        try socket.write(message)
        var fields = ProtobufFields(try socket.readMessage())
        var found: [(UInt64, ArraySlice<UInt8>)] = []
        var failed = false
        while let field = try fields.next() {
            if field.number == 1, try field.varint() != 0 { failed = true }
            if case .bytes(let bytes) = field.value { found.append((field.number, bytes)) }
        }
        let answer = Answer(fields: found)
        guard !failed else {
            var message = ProtobufFields(answer.first(2) ?? [])
            throw InteropError("p2pd: \(try message.next()?.text() ?? "failed")")
        }
        return answer
    }
}
