import NIOCore
import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("Frames of /kairos/vpn/1.0.0")
struct FrameTests {
    private let hello = VPNHello(capabilities: [.partialChecksum, .tcpSegmentation], mtu: 1200)

    private func packet(_ count: Int) -> [UInt8] {
        [UInt8](repeating: 0, count: 10) + PacketBuilder.udp(payload: (0..<count).map { UInt8($0 & 255) })
    }

    private func stream(_ packets: [[UInt8]]) -> ByteBuffer {
        var buffer = ByteBuffer()
        VPNFrame.append(hello, to: &buffer)
        for packet in packets { packet.withUnsafeBytes { VPNFrame.append(packet: $0, to: &buffer) } }
        return buffer
    }

    private func expectNext(
        _ decoder: inout VPNFrameDecoder, _ expected: VPNFrameDecoder.Frame?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let frame = try decoder.next()
        #expect(frame == expected, sourceLocation: sourceLocation)
    }

    @Test("The bytes of a hello and of a packet are these for ever")
    func bytes() {
        var buffer = ByteBuffer()
        VPNFrame.append(VPNHello(capabilities: [.partialChecksum, .udpSegmentation], mtu: 1200), to: &buffer)
        #expect(Array(buffer.readableBytesView) == [1, 0, 0, 3, 5, 0x04, 0xb0])
        buffer.clear()
        let framed = packet(2)
        framed.withUnsafeBytes { VPNFrame.append(packet: $0, to: &buffer) }
        #expect(Array(buffer.readableBytesView) == [0, 0, 0, 40] + framed)
        buffer.clear()
        framed.dropFirst(10).withUnsafeBytes { VPNFrame.append(plain: $0, to: &buffer) }
        #expect(Array(buffer.readableBytesView) == [0, 0, 0, 40] + framed)
    }

    @Test("Frames come out whole, however the stream is cut")
    func anyCut() throws {
        var generator = SeededGenerator(seed: 23)
        for _ in 0..<300 {
            let packets = (0..<Int.random(in: 1...8, using: &generator)).map { _ in
                packet(Int.random(in: 0...2000, using: &generator))
            }
            var bytes = stream(packets)
            var decoder = VPNFrameDecoder()
            var frames: [VPNFrameDecoder.Frame] = []
            while bytes.readableBytes > 0 {
                let count = min(bytes.readableBytes, Int.random(in: 1...1500, using: &generator))
                guard let slice = bytes.readSlice(length: count) else { break }
                decoder.feed(slice)
                while let frame = try decoder.next() { frames.append(frame) }
            }
            #expect(frames == [.hello(hello)] + packets.map { .packet(ByteBuffer(bytes: $0)) })
        }
    }

    @Test("The largest packet passes, a longer one ends the stream")
    func lengths() throws {
        var decoder = VPNFrameDecoder()
        decoder.feed(stream([[UInt8](repeating: 0x45, count: 10 + 65535)]))
        try expectNext(&decoder, .hello(hello))
        guard case .packet(let packet) = try decoder.next() else {
            Issue.record("no packet")
            return
        }
        #expect(packet.readableBytes == 65545)
        for prefix: UInt32 in [65546, 0x00ff_ffff, 29, 0] {
            var decoder = VPNFrameDecoder()
            var bytes = stream([])
            bytes.writeInteger(prefix)
            decoder.feed(bytes)
            _ = try decoder.next()
            #expect(throws: VPNFrameError.impossibleLength(type: 0, length: Int(prefix))) {
                try decoder.next()
            }
        }
    }

    @Test("A stream starts with one hello")
    func helloFirst() throws {
        var decoder = VPNFrameDecoder()
        decoder.feed(ByteBuffer(bytes: [0, 0, 0, 40]))
        #expect(throws: VPNFrameError.unexpectedHello) { try decoder.next() }
        decoder = VPNFrameDecoder()
        var twice = stream([])
        twice.writeImmutableBuffer(stream([]))
        decoder.feed(twice)
        try expectNext(&decoder, .hello(hello))
        #expect(throws: VPNFrameError.unexpectedHello) { try decoder.next() }
    }

    @Test("Frames of later versions are skipped, and so is what a later hello adds")
    func later() throws {
        var decoder = VPNFrameDecoder()
        var bytes = ByteBuffer(bytes: [1, 0, 0, 5, 3, 0x04, 0xb0, 9, 9, 7, 0, 0, 2, 1, 2])
        let framed = packet(1)
        framed.withUnsafeBytes { VPNFrame.append(packet: $0, to: &bytes) }
        decoder.feed(bytes)
        try expectNext(&decoder, .hello(hello))
        try expectNext(&decoder, .packet(ByteBuffer(bytes: framed)))
        try expectNext(&decoder, nil)
    }

    @Test("Random bytes never trap")
    func fuzz() {
        var generator = SeededGenerator(seed: 29)
        for _ in 0..<5000 {
            var decoder = VPNFrameDecoder()
            var bytes = stream([packet(20), packet(3)])
            for _ in 0..<Int.random(in: 0...4, using: &generator) {
                bytes.setInteger(
                    UInt8.random(in: 0...255, using: &generator),
                    at: Int.random(in: 0..<bytes.writerIndex, using: &generator))
            }
            decoder.feed(bytes)
            while (try? decoder.next()) != nil {}
        }
    }
}

@Suite("Packets of /edgevpn/0.1")
struct ReassemblyTests {
    /// The packet of contract K.1, and an IPv6 one.
    private static let ping =
        Hex.decode("4500002400010000400166d40a0100020a01000108005435123400016162636465666768") ?? []
    private static let six: [UInt8] = [0x60, 0, 0, 0, 0, 8, 59, 64] + [UInt8](repeating: 1, count: 40)

    @Test("Packets come out whole, however they were split or joined")
    func anyCut() throws {
        var generator = SeededGenerator(seed: 31)
        for _ in 0..<500 {
            let packets = (0..<Int.random(in: 1...6, using: &generator)).map { _ in
                Bool.random(using: &generator) ? Self.ping : Self.six
            }
            var bytes = ByteBuffer(bytes: packets.flatMap { $0 })
            var reassembler = IPPacketReassembler()
            var whole: [[UInt8]] = []
            while bytes.readableBytes > 0 {
                let count = min(bytes.readableBytes, Int.random(in: 1...60, using: &generator))
                guard let slice = bytes.readSlice(length: count) else { break }
                reassembler.feed(slice)
                while let packet = try reassembler.next() { whole.append(Array(packet.readableBytesView)) }
            }
            #expect(whole == packets)
            #expect(!reassembler.isInsidePacket)
        }
    }

    @Test("An impossible length ends the stream")
    func impossible() {
        for bytes: [UInt8] in [[0], [0x50], [0xff], [0x45, 0, 0, 19], [0x4f, 0, 0, 59], [0x44, 0, 0, 60]] {
            var reassembler = IPPacketReassembler()
            reassembler.feed(ByteBuffer(bytes: bytes))
            #expect(throws: ImpossiblePacketLength.self) { try reassembler.next() }
        }
    }

    @Test("Random bytes never trap")
    func fuzz() {
        var generator = SeededGenerator(seed: 37)
        for _ in 0..<5000 {
            var reassembler = IPPacketReassembler()
            let bytes = (0..<Int.random(in: 0...100, using: &generator)).map { index in
                index == 0 ? 0x45 : UInt8.random(in: 0...255, using: &generator)
            }
            reassembler.feed(ByteBuffer(bytes: bytes))
            while (try? reassembler.next()) != nil {}
        }
    }
}
