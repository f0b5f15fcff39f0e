import LibP2P
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Testing
import Timing

@testable import GossipSub

@Suite("The gossip service")
struct GossipSubServiceTests {
    private final class Node {
        let host: FakeHost
        let service: GossipSubService
        let heard = NIOLockedValueBox<[String]>([])

        init(_ network: FakeNetwork, _ parameters: Parameters = Parameters()) {
            host = network.addHost()
            let heard = heard
            service = GossipSubService(
                host: host, identity: host.identity, parameters: parameters,
                generator: SeededGenerator(seed: 1),
                time: LoopTime(loop: network.loop), logger: Logger(label: "test")
            ) { message in
                heard.withLockedValue { $0.append(String(decoding: message.data, as: UTF8.self)) }
                return .accept
            }
            service.start()
        }

        var messages: [String] { heard.withLockedValue { $0 } }

        func publish(_ text: String, to topic: Topic = "room") throws {
            try service.publish(Array(text.utf8), to: topic).wait()
        }
    }

    @Test(
        "messages travel both ways, each on the stream that its sender opened, and nobody writes on the other's"
    )
    func bothWays() throws {
        let network = FakeNetwork()
        let (first, second) = (Node(network), Node(network))
        first.service.subscribe(to: "room")
        second.service.subscribe(to: "room")
        try network.connect(first.host, second.host)
        #expect(network.streams(from: first.host, to: second.host).count == 1)
        #expect(network.streams(from: second.host, to: first.host).count == 1)
        try first.publish("one")
        try second.publish("two")
        network.pump()
        #expect(second.messages == ["one"])
        #expect(first.messages == ["two"])
        #expect(network.writtenBack == 0)
        #expect(try first.service.subscribers(of: "room").wait() == [second.host.localPeer])
        #expect(try first.service.mesh(of: "room").wait() == [second.host.localPeer])
        #expect(try first.service.counters().wait().published == 1)
    }

    @Test("a peer that does not speak the protocol is left alone")
    func otherProtocols() throws {
        let network = FakeNetwork()
        let (first, second) = (Node(network), Node(network))
        try network.connect(first.host, second.host, protocols: ["/ipfs/ping/1.0.0"])
        network.advance(.seconds(100))
        #expect(network.streams(from: first.host, to: second.host).isEmpty)
    }

    @Test("a stream that breaks is opened again and the peer hears what is published after")
    func reopens() throws {
        let network = FakeNetwork()
        let (first, second) = (Node(network), Node(network))
        first.service.subscribe(to: "room")
        second.service.subscribe(to: "room")
        try network.connect(first.host, second.host)
        let broken = try #require(network.streams(from: first.host, to: second.host).first)
        broken.far.close(promise: nil)
        network.advance(.seconds(1))
        let again = try #require(network.streams(from: first.host, to: second.host).first)
        #expect(again.near !== broken.near)
        try first.publish("after")
        network.pump()
        #expect(second.messages == ["after"])
    }

    @Test("refused streams are retried a few times and then about once a minute")
    func boundedRetries() throws {
        let network = FakeNetwork()
        let (first, second) = (Node(network), Node(network))
        first.service.subscribe(to: "room")
        second.service.subscribe(to: "room")
        second.host.refusesStreams = true
        try network.connect(first.host, second.host)
        network.advance(.seconds(5))
        second.host.refusesStreams = false
        network.advance(.seconds(5))
        #expect(network.streams(from: first.host, to: second.host).isEmpty)
        network.advance(.seconds(80))
        #expect(network.streams(from: first.host, to: second.host).count == 1)
    }

    @Test("after a rotation streams to other kinds of node are new, those between ours are not")
    func rotation() throws {
        for (agentVersion, isReplaced) in [
            ("github.com/mudler/edgevpn", true), (PeerInformation.agentPrefix + "1.0", false),
        ] {
            let network = FakeNetwork()
            let (first, second) = (Node(network), Node(network))
            first.service.subscribe(to: "old")
            second.service.subscribe(to: "old")
            try network.connect(first.host, second.host, agentVersion: agentVersion)
            let before = try #require(network.streams(from: first.host, to: second.host).first)
            for node in [first, second] {
                node.service.subscribe(to: "room")
                node.service.unsubscribe(from: "old")
            }
            first.service.reopenStreams()
            network.advance(.seconds(10))
            let streams = network.streams(from: first.host, to: second.host)
            #expect(streams.count == 1)
            #expect((streams.first?.near !== before.near) == isReplaced)
            try first.publish("new")
            try second.publish("new too")
            network.pump()
            #expect(second.messages == ["new"] && first.messages == ["new too"])
        }
    }

    @Test("of two streams of a peer the newer counts, and many make the oldest close")
    func severalStreams() throws {
        let network = FakeNetwork()
        let node = Node(network)
        node.service.subscribe(to: "room")
        let peer = network.addHost()
        try network.connect(node.host, peer, protocols: ["/ipfs/id/1.0.0"])
        func hello(_ topic: Topic, on channel: EmbeddedChannel) {
            var rpc = RPC()
            rpc.subscriptions = [.init(subscribes: true, topic: topic)]
            var buffer = ByteBuffer()
            GossipFrames.write(rpc.encoded, to: &buffer)
            channel.writeAndFlush(buffer, promise: nil)
            network.pump()
        }
        var opened: [EmbeddedChannel] = []
        for number in 0..<6 {
            let future = network.open(from: peer.localPeer, to: node.host.localPeer, "/meshsub/1.1.0") {
                $0.channel.eventLoop.makeSucceededVoidFuture()
            }
            let channel = try #require(try future.wait() as? EmbeddedChannel)
            opened.append(channel)
            hello(Topic("t\(number)"), on: channel)
        }
        #expect(try node.service.subscribers(of: "t5").wait() == [peer.localPeer])
        #expect(try node.service.subscribers(of: "t4").wait().isEmpty, "what the older stream said is void")
        hello("late", on: opened[4])
        #expect(
            try node.service.subscribers(of: "late").wait().isEmpty, "the older stream is not listened to")
        #expect(network.streams(from: peer, to: node.host).count == 4)
    }

    @Test("a frame above the limit ends the stream, and what fits arrives however it is cut")
    func frames() throws {
        var parameters = Parameters()
        parameters.maximumMessageSize = 1000
        let network = FakeNetwork()
        let (first, second) = (Node(network, parameters), Node(network))
        first.service.subscribe(to: "room")
        second.service.subscribe(to: "room")
        try network.connect(first.host, second.host)
        try second.publish(String(repeating: "x", count: 700))
        network.pump()
        #expect(first.messages.count == 1)
        try second.publish(String(repeating: "x", count: 2000))
        network.pump()
        #expect(first.messages.count == 1)
        network.advance(.seconds(1))
        try second.publish("small")
        network.pump()
        #expect(first.messages.last == "small", "the stream was opened again")
        #expect(throws: GossipSubError.self) { try first.publish(String(repeating: "x", count: 1000)) }
    }

    @Test("frames are found however the stream is cut, empty ones are skipped, and long ones refused")
    func frameReader() throws {
        var whole = ByteBuffer()
        for body in [[1, 2, 3], [], [UInt8](repeating: 9, count: 300)] {
            GossipFrames.write(body, to: &whole)
        }
        var buffer = ByteBuffer()
        var frames: [[UInt8]] = []
        while let byte = whole.readBytes(length: 1) {
            buffer.writeBytes(byte)
            while case .frame(let frame) = try GossipFrames.read(from: &buffer, maximumLength: 300) {
                frames.append(frame)
            }
        }
        #expect(frames == [[1, 2, 3], [UInt8](repeating: 9, count: 300)])
        for bytes: [UInt8] in [[0xad, 0x02], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            #expect(throws: (any Error).self) {
                var buffer = ByteBuffer(bytes: bytes)
                _ = try GossipFrames.read(from: &buffer, maximumLength: 300)
            }
        }
    }

    @Test("a peer that disconnects is forgotten and comes back clean")
    func disconnects() throws {
        let network = FakeNetwork()
        let (first, second) = (Node(network), Node(network))
        first.service.subscribe(to: "room")
        second.service.subscribe(to: "room")
        try network.connect(first.host, second.host)
        network.disconnect(first.host, second.host)
        #expect(network.streams(from: first.host, to: second.host).isEmpty)
        #expect(try first.service.subscribers(of: "room").wait().isEmpty)
        try network.connect(first.host, second.host)
        try first.publish("again")
        network.pump()
        #expect(second.messages == ["again"])
        first.service.stop()
        network.pump()
        #expect(network.streams(from: first.host, to: second.host).isEmpty)
    }
}
