import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("Segmentation in user space")
struct SegmentationTests {
    private func cut(_ header: VirtioNetHeader, _ packet: [UInt8]) throws -> [[UInt8]] {
        var segmentation = Segmentation()
        var packets: [[UInt8]] = []
        try packet.withUnsafeBytes { bytes in
            try segmentation.packets(header, bytes) { packets.append(Array($0)) }
        }
        return packets
    }

    private func payload(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) } }

    @Test("A known TCP checksum is completed")
    func knownAnswer() throws {
        // A captured SYN: 192.168.0.31:443 to 192.168.0.30:44444, checksum 0xf265.
        let captured = try #require(
            Hex.decode(
                "4500002c0000400040060b1ec0a8001fc0a8001e01bbad9c1c6b4d7a0a0b0c0d6012fa8700000000020405b4"))
        var expected = captured
        PacketBuilder.setChecksum(&expected, at: 36)
        var partial = captured
        PacketBuilder.setChecksum(&partial, at: 36, partial: true)
        #expect(partial != expected)
        #expect(try cut(PacketBuilder.header(), partial) == [expected])
        // RFC 1071, section 3: 00 01 f2 03 f4 f5 f6 f7 sums to ddf2.
        let example: [UInt8] = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]
        let sum = example.withUnsafeBytes { InternetChecksum.fold(InternetChecksum.sum($0)) }
        #expect(UInt16(bigEndian: sum) == 0xddf2)
    }

    @Test("The sum of any bytes is the textbook's", arguments: [0, 1, 2, 3, 4, 5, 7, 8, 1399, 65535])
    func sums(count: Int) {
        var generator = SeededGenerator(seed: UInt64(count))
        for _ in 0..<(count > 1000 ? 3 : 50) {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let sum = bytes.withUnsafeBytes { InternetChecksum.fold(InternetChecksum.sum($0)) }
            #expect(~UInt16(bigEndian: sum) == PacketBuilder.checksum(bytes))
        }
    }

    @Test("A TCP super-packet is cut as the kernel cuts it: sequence, flags, identification, checksums")
    func tcp() throws {
        // FIN, PSH, ACK and CWR; the sequence number wraps on the way.
        let options: [UInt8] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]
        let data = payload(3000)
        let packet = PacketBuilder.tcp(
            flags: 0x99, options: options, identification: 0xffff, payload: data, partial: true)
        let header = PacketBuilder.header(segmentation: VirtioNetHeader.segmentationTCPv4, size: 1148)
        let expected = [
            PacketBuilder.tcp(
                sequence: 0xffff_ff00, flags: 0x90, options: options, identification: 0xffff,
                payload: Array(data[..<1148])),
            PacketBuilder.tcp(
                sequence: 0xffff_ff00 &+ 1148, flags: 0x10, options: options, identification: 0,
                payload: Array(data[1148..<2296])),
            PacketBuilder.tcp(
                sequence: 0xffff_ff00 &+ 2296, flags: 0x19, options: options, identification: 1,
                payload: Array(data[2296...])),
        ]
        #expect(try cut(header, packet) == expected)
    }

    @Test("A UDP super-packet becomes datagrams of their own")
    func udp() throws {
        let data = payload(2500)
        let packet = PacketBuilder.udp(payload: data, partial: true)
        let header = PacketBuilder.header(
            segmentation: VirtioNetHeader.segmentationUDP, size: 1000, offset: 6)
        let expected = [0..<1000, 1000..<2000, 2000..<2500].enumerated().map { index, range in
            PacketBuilder.udp(identification: 0x1234 + UInt16(index), payload: Array(data[range]))
        }
        #expect(try cut(header, packet) == expected)
    }

    @Test("A UDP checksum of zero is sent as its complement")
    func udpZero() throws {
        // One word of payload is chosen so that the sum comes out as all ones.
        for word in UInt16.min...UInt16.max {
            var packet = PacketBuilder.udp(payload: PacketBuilder.bytes(word))
            guard packet[26] == 0, packet[27] == 0 else { continue }
            PacketBuilder.setChecksum(&packet, at: 26, partial: true)
            let result = try cut(PacketBuilder.header(offset: 6), packet)
            #expect(result.first.map { Array($0[26..<28]) } == [0xff, 0xff])
            return
        }
        Issue.record("no payload gives a checksum of zero")
    }

    @Test("A plain packet passes untouched")
    func plain() throws {
        let packet = PacketBuilder.tcp(payload: payload(10))
        #expect(try cut(VirtioNetHeader(), packet) == [packet])
    }

    @Test("The largest super-packet gives as many bytes as it had")
    func largest() throws {
        let data = payload(65535 - 40)
        let packet = PacketBuilder.tcp(payload: data, partial: true)
        let header = PacketBuilder.header(segmentation: VirtioNetHeader.segmentationTCPv4, size: 1160)
        let packets = try cut(header, packet)
        #expect(packets.count == (data.count + 1159) / 1160)
        #expect(packets.flatMap { $0[40...] } == data)
    }

    @Test("Headers that do not fit the packet are refused")
    func refused() throws {
        let packet = PacketBuilder.tcp(payload: payload(3000), partial: true)
        var headers: [VirtioNetHeader] = []
        headers.append(PacketBuilder.header(segmentation: VirtioNetHeader.segmentationTCPv4, size: 0))
        headers.append(PacketBuilder.header(segmentation: VirtioNetHeader.segmentationTCPv4, size: 1))
        headers.append(
            PacketBuilder.header(segmentation: VirtioNetHeader.segmentationUDP, size: 1000, offset: 6))
        headers.append(PacketBuilder.header(segmentation: 4, size: 1000))
        headers.append(PacketBuilder.header(segmentation: 0x81, size: 1000))
        headers.append(PacketBuilder.header(start: 65535, offset: 65535))
        headers.append(PacketBuilder.header(start: 10))
        headers.append(PacketBuilder.header(start: 3039))
        var flagged = PacketBuilder.header()
        flagged.flags = 0x80
        headers.append(flagged)
        for header in headers {
            #expect(throws: DropReason.malformedOffload) { try cut(header, packet) }
        }
    }

    @Test("Random headers over random packets never trap and never make a packet that is no packet")
    func fuzz() throws {
        var generator = SeededGenerator(seed: 17)
        for _ in 0..<20000 {
            var packet = PacketBuilder.tcp(
                payload: payload(Int.random(in: 0...300, using: &generator)), partial: true)
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                packet[Int.random(in: 0..<min(40, packet.count), using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            packet = Array(packet.prefix(Int.random(in: 0...packet.count, using: &generator)))
            var header = PacketBuilder.header(
                segmentation: [0, 1, 4, 5, 0x81].randomElement(using: &generator) ?? 0,
                size: .random(in: 0...400, using: &generator))
            if Bool.random(using: &generator) {
                header.checksumStart = .random(in: 0...400, using: &generator)
            }
            if Bool.random(using: &generator) {
                header.checksumOffset = .random(in: 0...40, using: &generator)
            }
            header.flags = .random(in: 0...3, using: &generator)
            guard let packets = try? cut(header, packet) else { continue }
            for made in packets {
                let isPacket = made.withUnsafeBytes { bytes -> Bool in
                    if case .success = IPv4Packet.parse(bytes) { return true }
                    return false
                }
                #expect(isPacket)
            }
        }
    }

    @Test("The virtio-net header is little-endian, ten bytes")
    func headerBytes() {
        let header = PacketBuilder.header(segmentation: 1, size: 0x0488)
        #expect(header.bytes == [1, 1, 40, 0, 0x88, 0x04, 20, 0, 16, 0])
        #expect(header.bytes.withUnsafeBytes { VirtioNetHeader($0) } == header)
        #expect([UInt8](repeating: 0, count: 9).withUnsafeBytes { VirtioNetHeader($0) } == nil)
    }
}
