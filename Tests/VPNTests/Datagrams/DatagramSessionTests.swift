import LibP2P
import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("Datagrams: keys, sealing and opening")
struct DatagramSessionTests {
    private static let algorithms = PacketCipher.Algorithm.allCases

    private func pair(
        _ algorithm: PacketCipher.Algorithm = .aes256GCM, firstCounter: UInt64 = 0
    ) throws -> (DatagramSession, DatagramSession) {
        let keys = [UInt8(1), 2].map {
            SecretBytes(copying: [UInt8](repeating: $0, count: algorithm.keyLength))
        }
        let peer = Identity.generate().peerID
        func session(_ local: UInt32, _ remote: UInt32, _ send: Int) throws -> DatagramSession {
            try #require(
                DatagramSession(
                    peer: peer, localIndex: local, remoteIndex: remote, maximumPacket: 1200,
                    sendKey: keys[send],
                    receiveKey: keys[1 - send], algorithm: algorithm, firstCounter: firstCounter))
        }
        return (try session(0x0102_0304, 0x0506_0708, 0), try session(0x0506_0708, 0x0102_0304, 1))
    }

    private func sealed(_ inner: [UInt8], by session: DatagramSession) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 12) + inner + [UInt8](repeating: 0, count: 16)
        let length = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.flatMap { session.seal($0, count: inner.count) }
        }
        return Array(bytes.prefix(length ?? 0))
    }

    private func opened(_ datagram: [UInt8], by session: DatagramSession) -> [UInt8]? {
        var datagram = datagram
        return datagram.withUnsafeMutableBytes { session.open($0).map { Array($0) } }
    }

    @Test("Everything that is sealed counts, by which a busy path is told from a trickle")
    func sealedCount() throws {
        let (first, second) = try pair()
        for count in UInt64(0)..<3 {
            #expect(first.sealed == count)
            _ = sealed([0, 0, 0, 0], by: first)
        }
        #expect(first.sealed == 3 && second.sealed == 0)
    }

    @Test("A datagram is index, counter, and the AEAD's own output", arguments: algorithms)
    func layout(_ algorithm: PacketCipher.Algorithm) throws {
        let (first, second) = try pair(algorithm, firstCounter: 0x0403_0201)
        let inner: [UInt8] = [1, 16, 0, 20] + (0..<100).map { UInt8($0) }
        let datagram = sealed(inner, by: first)
        #expect(datagram.prefix(12) == [5, 6, 7, 8, 0, 0, 0, 0, 4, 3, 2, 1])
        // The independent, one-shot implementation.
        let key = SecretBytes(copying: [UInt8](repeating: 1, count: 32))
        let nonce: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1]
        if algorithm == .aes256GCM {
            #expect(try Array(datagram[12...]) == AESGCM.seal(inner, key: key, nonce: nonce))
        }
        #expect(opened(datagram, by: second) == inner)
        // Twice, and to the wrong end.
        #expect(opened(datagram, by: second) == nil)
        #expect(opened(datagram, by: first) == nil)
    }

    @Test(
        "A datagram with any bit of counter, body or tag changed, cut or grown is refused, and harms none that follow",
        arguments: algorithms)
    func tampered(_ algorithm: PacketCipher.Algorithm) throws {
        let (first, second) = try pair(algorithm)
        let inner: [UInt8] = [0, 0, 0, 0] + (0..<40).map { UInt8($0) }
        let datagram = sealed(inner, by: first)
        for bit in (4 * 8)..<(datagram.count * 8) {
            var changed = datagram
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(opened(changed, by: second) == nil)
        }
        for count in 0..<datagram.count { #expect(opened(Array(datagram.prefix(count)), by: second) == nil) }
        #expect(opened(datagram + [0], by: second) == nil)
        #expect(opened(datagram, by: second) == inner)
    }

    @Test("A used-up key seals nothing more", arguments: algorithms)
    func usedUp(_ algorithm: PacketCipher.Algorithm) throws {
        let limit = DatagramFormat.maximumCounter(of: algorithm)
        let (first, _) = try pair(algorithm, firstCounter: limit - 1)
        #expect(!sealed([0, 0, 0, 0], by: first).isEmpty)
        #expect(sealed([0, 0, 0, 0], by: first).isEmpty)
        #expect(first.control(kind: DatagramFormat.probe, number: 1) == nil)
    }

    @Test("The longest blocks that a key of OCB may seal stay within the 2^48 blocks of RFC 7253")
    func ocbLimit() {
        // Each block of the message, the nonce and the tag are one use of AES.
        let most = UInt64((DatagramFormat.maximumBlock + 15) / 16 + 2)
        #expect(DatagramFormat.maximumCounter(of: .aes128OCB) * most <= 1 << 48)
    }

    @Test("Both ends use the fastest cipher that both have, and one of a former version too")
    func agreement() {
        #expect(DatagramHello.agreed(offered: 0b0111, own: 0b0111) == .aes128OCB)
        // The former version knows of no OCB, and offers or answers AES-256-GCM.
        #expect(DatagramHello.agreed(offered: 0b0011, own: 0b0111) == .aes256GCM)
        #expect(DatagramHello.agreed(offered: 0b0111, own: 0b0011) == .aes256GCM)
        #expect(DatagramHello.agreed(offered: 0b0111, own: 0b0010) == .chaCha20Poly1305)
        #expect(DatagramHello.agreed(offered: 0b1000, own: 0b0111) == nil)
        #expect(DatagramHello.agreed(offered: 0b1111, own: 0b0111) == .aes128OCB)
        #expect(DatagramHello.agreed(offered: 0b0001, own: 0b0010) == nil)
        #expect(DatagramHello.agreed(offered: 0, own: 0b0111) == nil)
    }

    @Test("A probe is as long as the largest packet")
    func probe() throws {
        let (first, second) = try pair()
        let probe = try #require(first.control(kind: DatagramFormat.probe, number: 0x0a0b))
        #expect(probe.count == 1200 + DatagramFormat.overhead)
        let inner = try #require(opened(probe, by: second))
        #expect(inner.prefix(12) == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 11])
    }

    @Test("A hello reads as it was written; others are refused")
    func hello() throws {
        let hello = DatagramHello(
            ciphers: 3, port: 4001, mtu: 1420, index: 0x0102_0304, publicKey: (0..<32).map { UInt8($0) })
        let bytes = hello.bytes
        #expect(bytes.prefix(11) == [42, 1, 3, 0x0f, 0xa1, 0x05, 0x8c, 1, 2, 3, 4])
        #expect(DatagramHello(Array(bytes.dropFirst())) == hello)
        let withBlocks = DatagramHello(
            ciphers: 1, blocks: [.tcpSegmentation, .udpSegmentation], port: 4001, mtu: 1420, index: 1,
            publicKey: hello.publicKey)
        #expect(withBlocks.bytes[2] == 0x61 && withBlocks.ciphers == 1)
        #expect(withBlocks.blocks == [.tcpSegmentation, .udpSegmentation] && hello.blocks == [])
        #expect(DatagramHello(Array(bytes.dropFirst().dropLast())) == nil)
        for (place, value) in [(0, UInt8(2)), (2, 0), (4, 0)] {
            var changed = Array(bytes.dropFirst())
            changed[place] = value
            // Port and MTU are two bytes; an MTU of 0 is no device's.
            if place != 0 { changed[place + 1] = 0 }
            #expect(DatagramHello(changed) == nil)
        }
    }

    @Test("Both ends derive the same two keys, which depend on the channel, the peers and both messages")
    func keys() throws {
        let (one, two) = (X25519.KeyPair.generate(), X25519.KeyPair.generate())
        let (alice, bob) = (Identity.generate().peerID, Identity.generate().peerID)
        let opening = DatagramHello(ciphers: 3, port: 1, mtu: 1200, index: 1, publicKey: one.publicKey)
        var answer = DatagramHello(ciphers: 1, port: 2, mtu: 1200, index: 2, publicKey: two.publicKey)
        func derive(
            _ own: X25519.KeyPair, _ isInitiator: Bool, _ binding: [UInt8] = [1],
            for algorithm: PacketCipher.Algorithm = .aes256GCM
        ) throws -> DatagramKeys {
            try DatagramKeys(
                own: own, initiator: (alice, opening), responder: (bob, answer), isInitiator: isInitiator,
                channelBinding: binding, for: algorithm)
        }
        let keys = try derive(one, true)
        let same = try derive(two, false)
        #expect(keys.fromInitiator == same.fromInitiator && keys.fromResponder == same.fromResponder)
        #expect(keys.fromInitiator != keys.fromResponder)
        for algorithm in Self.algorithms {
            let keys = try derive(one, true, for: algorithm)
            #expect(keys.fromInitiator.count == algorithm.keyLength)
            #expect(keys.fromResponder.count == algorithm.keyLength)
        }
        #expect(try derive(one, true, [2]).fromInitiator != keys.fromInitiator)
        answer.ciphers = 2
        #expect(try derive(one, true).fromInitiator != keys.fromInitiator)
        answer.publicKey = [UInt8](repeating: 0, count: 32)
        #expect(throws: CryptoError.self) { try derive(one, true) }
    }

    @Test("Addresses of both families; the mesh's own are known as such")
    func endpoints() throws {
        let four = try #require(DatagramEndpoint(address: [192, 0, 2, 1], port: 9))
        #expect(four.ipv4 == 0xc000_0201)
        let six = try #require(
            DatagramEndpoint(address: [0x20, 1] + [UInt8](repeating: 0, count: 14), port: 9))
        #expect(six.ipv4 == nil)
        #expect(DatagramEndpoint(address: [1, 2, 3], port: 9) == nil)
        #expect(DatagramEndpoint(four.raw) == four)
    }
}
