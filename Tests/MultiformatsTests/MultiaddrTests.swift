import Multiformats
import TestSupport
import Testing
import Timing

private struct Case: Decodable {
    struct Component: Decodable {
        let code: UInt64
        let name: String
        let valueBytes: String
    }

    let kind: String
    let name: String?
    let text: String?
    let bytes: String?
    let canonical: String?
    let components: [Component]?
}

private struct File: Decodable {
    let cases: [Case]
}

@Suite("Addresses")
struct MultiaddrTests {
    private let cases: [Case]

    init() throws {
        cases = try Vectors.load("multiaddr.json", as: File.self, snakeCase: true).cases
    }

    @Test("every address that go-libp2p takes reads to the same bytes, text and components")
    func validAddresses() throws {
        let valid = cases.filter { $0.kind == "valid" }
        #expect(valid.count >= 80)
        for example in valid {
            let text = try #require(example.text)
            let bytes = try #require(example.bytes.flatMap(Hex.decode))
            let canonical = try #require(example.canonical)

            let address = try Multiaddr(text)
            #expect(address.bytes == bytes, "\(text)")
            #expect(address.description == canonical, "\(text)")
            #expect(try Multiaddr(bytes: bytes) == address, "\(text)")
            #expect(try Multiaddr(canonical) == address, "\(text)")
            #expect(try Multiaddr(components: address.components) == address, "\(text)")
            let components = try #require(example.components)
            #expect(address.components.map(\.protocol.rawValue) == components.map(\.code), "\(text)")
            #expect(address.components.map(\.protocol.name) == components.map(\.name), "\(text)")
            #expect(
                address.components.map { Hex.encode($0.value) } == components.map(\.valueBytes), "\(text)")
        }
    }

    @Test("every text that go-libp2p refuses is refused")
    func invalidTexts() throws {
        let invalid = cases.filter { $0.kind == "invalid_text" }
        #expect(invalid.count >= 50)
        for example in invalid {
            let text = try #require(example.text)
            #expect(throws: MultiaddrError.self, "\(text)") { try Multiaddr(text) }
        }
    }

    @Test("bytes read and are refused as go-libp2p does")
    func bytes() throws {
        for example in cases where example.kind.hasSuffix("_bytes") {
            let bytes = try #require(example.bytes.flatMap(Hex.decode))
            let name = example.name ?? ""
            if example.kind == "valid_bytes" {
                #expect(try Multiaddr(bytes: bytes).bytes == bytes, "\(name)")
            } else {
                #expect(throws: MultiaddrError.self, "\(name)") { try Multiaddr(bytes: bytes) }
            }
        }
    }

    @Test("an address says where to connect to and whom it leads to")
    func accessors() throws {
        let peer = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"
        let relay = "12D3KooWCd3eX8r5ihRvzK7P1yPq5aakaBJhG5GNj18YTztPhoCa"

        let plain = try Multiaddr("/ip4/192.0.2.2/tcp/4001/p2p/\(peer)")
        #expect(
            plain.tcpEndpoint
                == TCPEndpoint(host: .address(.v4(IPv4Address(0xc000_0202)), zone: nil), port: 4001))
        #expect(plain.peerIDBytes == Multiaddr.peerIDBytes(text: peer))
        #expect(plain.withoutPeerID == .tcp(.v4(IPv4Address(0xc000_0202)), port: 4001))
        #expect(try plain.withoutPeerID?.appending(peerID: plain.peerIDBytes ?? []) == plain)

        let local = try Multiaddr("/ip6zone/eth0/ip6/fe80::1/tcp/1")
        #expect(local.zone == "eth0")
        #expect(local.ipAddress?.description == "fe80::1")
        #expect(local.tcpEndpoint?.port == 1)
        #expect(local.reach == .private)

        let relayed = try Multiaddr("/ip4/192.0.2.2/tcp/4001/p2p/\(relay)/p2p-circuit/p2p/\(peer)")
        #expect(relayed.isRelayed)
        #expect(relayed.peerIDBytes == plain.peerIDBytes)
        #expect(relayed.tcpEndpoint == nil)

        let socket = try Multiaddr("/dns4/example.com/tcp/443/tls/ws")
        #expect(socket.tcpEndpoint == nil)
        #expect(socket.tcpPort == 443)
        #expect(try Multiaddr("/dns4/example.com/tcp/443").tcpEndpoint?.host == .name("example.com", .v4))
        #expect(try Multiaddr("/p2p/\(peer)").withoutPeerID == nil)
        #expect(try Multiaddr("/p2p/\(peer)/p2p-circuit").peerIDBytes == nil)
        #expect(
            try Multiaddr("/ip4/192.0.2.2/udp/4001/quic-v1")
                == .quic(.v4(IPv4Address(0xc000_0202)), port: 4001))
    }

    @Test(
        "an address is of the class that go-libp2p gives it",
        arguments: [
            ("/ip4/127.8.0.1/tcp/1", AddressReach.loopback), ("/ip6/::1/tcp/1", .loopback),
            ("/ip4/10.1.2.3/tcp/1", .private), ("/ip4/100.64.0.1/tcp/1", .private),
            ("/ip4/100.127.255.255/tcp/1", .private), ("/ip4/100.128.0.1/tcp/1", .public),
            ("/ip4/172.31.255.255/tcp/1", .private), ("/ip4/172.32.0.0/tcp/1", .public),
            ("/ip4/192.168.0.1/tcp/1", .private), ("/ip4/169.254.1.1/tcp/1", .private),
            ("/ip6/fd00::1/tcp/1", .private), ("/ip6/fe80::1/tcp/1", .private),
            ("/ip6/febf::1/tcp/1", .private),
            ("/ip6/fec0::1/tcp/1", .unroutable),
            ("/ip4/0.0.0.0/tcp/1", .unroutable), ("/ip4/192.0.0.63/tcp/1", .unroutable),
            ("/ip4/192.0.0.64/tcp/1", .public), ("/ip4/192.0.2.1/tcp/1", .unroutable),
            ("/ip4/192.88.99.1/tcp/1", .unroutable), ("/ip4/198.19.255.255/tcp/1", .unroutable),
            ("/ip4/198.51.100.1/tcp/1", .unroutable), ("/ip4/203.0.113.1/tcp/1", .unroutable),
            ("/ip4/224.0.0.1/tcp/1", .unroutable), ("/ip4/255.255.255.255/tcp/1", .unroutable),
            ("/ip4/8.8.8.8/tcp/1", .public), ("/ip6/2001:db8::1/tcp/1", .unroutable),
            ("/ip6/2606:4700::1/tcp/1", .public), ("/ip6/64:ff9b::808:808/tcp/1", .public),
            ("/ip6/64:ff9b:1::1/tcp/1", .public), ("/ip6/::ffff:10.0.0.1/tcp/1", .private),
            ("/dns4/example.com/tcp/1", .public), ("/dns/node.local/tcp/1", .private),
            ("/dns/a.localhost/tcp/1", .loopback), ("/dns/x.invalid/tcp/1", .unroutable),
            ("/tls", .unroutable),
        ])
    func reach(text: String, expected: AddressReach) throws {
        #expect(try Multiaddr(text).reach == expected)
    }

    @Test("an address has an upper size in both forms")
    func bounds() throws {
        let long = String(repeating: "a", count: 1100)
        #expect(throws: MultiaddrError.self) { try Multiaddr("/dns/\(long)") }
        #expect(throws: MultiaddrError.tooLong) { try Multiaddr(String(repeating: "/tls", count: 600)) }
        #expect(throws: MultiaddrError.tooLong) {
            try Multiaddr(bytes: [UInt8](repeating: 0xdd, count: 5000))
        }
        #expect(throws: MultiaddrError.tooLong) { try Multiaddr(String(repeating: "/", count: 100_000)) }
    }

    @Test("random and damaged bytes and texts never break the reader, and what it takes reads back")
    func fuzz() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        let good = try cases.filter { $0.kind == "valid" }.map { try #require($0.bytes.flatMap(Hex.decode)) }
        for _ in 0..<5000 {
            var bytes = good.randomElement(using: &random) ?? []
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                bytes = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                    .random(in: 0...255, using: &random)
                }
            case 1: bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
            case 2: bytes += good.randomElement(using: &random) ?? []
            default:
                let index = Int.random(in: bytes.indices, using: &random)
                bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            }
            if let address = try? Multiaddr(bytes: bytes) {
                #expect(address.bytes == bytes, "seed \(seed)")
                if bytes.allSatisfy({ $0 < 0x80 }),
                    !address.components.contains(where: { $0.value.contains(0x2f) })
                {
                    #expect(
                        try Multiaddr(address.description) == address, "seed \(seed), \(Hex.encode(bytes))")
                }
                _ = (address.reach, address.tcpEndpoint, address.withoutPeerID, address.description)
            }
            _ = try? Multiaddr(String(decoding: bytes, as: UTF8.self))
            _ = try? Multiaddr("/" + String(decoding: bytes, as: UTF8.self))
        }
    }
}
