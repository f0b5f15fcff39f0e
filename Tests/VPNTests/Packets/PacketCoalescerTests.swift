import Testing
import Timing

@testable import VPN

@Suite("Joining packets to super-packets")
struct PacketCoalescerTests {
    /// What comes out when `packets`, each with a partial checksum, go in.
    private func joined(
        _ packets: [[UInt8]], offset: UInt16 = 16,
        capabilities: OffloadCapabilities = [
            .partialChecksum, .tcpSegmentation, .udpSegmentation,
        ], flags: UInt8 = VirtioNetHeader.needsChecksum
    ) throws -> [(VirtioNetHeader, [UInt8])] {
        var coalescer = PacketCoalescer(capabilities: capabilities)
        defer { coalescer.deallocate() }
        var out: [(VirtioNetHeader, [UInt8])] = []
        func emit(_ bytes: UnsafeRawBufferPointer) {
            if let header = VirtioNetHeader(bytes) { out.append((header, Array(bytes.dropFirst(10)))) }
        }
        for packet in packets {
            try packet.withUnsafeBytes { bytes in
                var header = PacketBuilder.header(offset: offset)
                header.flags = flags
                coalescer.add(bytes, try IPv4Packet.parse(bytes).get(), header, emit: emit)
            }
        }
        coalescer.flush(emit)
        return out
    }

    private func cut(_ header: VirtioNetHeader, _ packet: [UInt8]) throws -> [[UInt8]] {
        var segmentation = Segmentation()
        var packets: [[UInt8]] = []
        try packet.withUnsafeBytes { bytes in
            try segmentation.packets(header, bytes) { packets.append(Array($0)) }
        }
        return packets
    }

    private func completed(_ packet: [UInt8], field: Int) -> [UInt8] {
        var packet = packet
        PacketBuilder.setChecksum(&packet, at: field)
        return packet
    }

    private func segments(_ sizes: [Int], flags: [UInt8]? = nil, start: UInt32 = 0xffff_fff0) -> [[UInt8]] {
        var (sequence, packets): (UInt32, [[UInt8]]) = (start, [])
        for (index, size) in sizes.enumerated() {
            packets.append(
                PacketBuilder.tcp(
                    sequence: sequence, flags: flags?[index] ?? 0x10,
                    options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
                    identification: 0xfffe &+ UInt16(index),
                    payload: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ index) }, partial: true))
            sequence &+= UInt32(size)
        }
        return packets
    }

    @Test("Segments that follow each other become one super-packet, and cutting it gives them back")
    func tcp() throws {
        let packets = segments([1148, 1148, 1148, 500], flags: [0x10, 0x10, 0x10, 0x18])
        let out = try joined(packets)
        #expect(out.count == 1)
        let (header, packet) = try #require(out.first)
        #expect(header.segmentationType == VirtioNetHeader.segmentationTCPv4 && header.segmentSize == 1148)
        #expect(packet.count == 52 + 3 * 1148 + 500)
        #expect(PacketBuilder.checksum(Array(packet[..<20])) == 0)
        #expect(try cut(header, packet) == packets.map { completed($0, field: 36) })
    }

    @Test("What the kernel's GRO would not join stays apart, byte for byte")
    func apart() throws {
        let base = segments([600, 600])
        func changed(_ place: Int, _ change: UInt8) -> [[UInt8]] {
            var packets = base
            packets[1][place] ^= change
            packets[1].replaceSubrange(10..<12, with: [0, 0])
            packets[1].replaceSubrange(
                10..<12, with: PacketBuilder.bytes(PacketBuilder.checksum(Array(packets[1][..<20]))))
            return packets
        }
        // Class of service, identification, fragment bits, time to live, addresses, ports, sequence,
        // acknowledgement, SYN, RST, URG, CWR, window, urgent pointer, option.
        let places: [(Int, UInt8)] = [
            (1, 1), (5, 1), (6, 0x40), (8, 1), (15, 1), (19, 1), (21, 1), (23, 1), (27, 1), (31, 1), (33, 2),
            (33, 4),
            (33, 0x20), (33, 0x80), (35, 1), (39, 1), (51, 1),
        ]
        for (place, change) in places {
            let packets = changed(place, change)
            #expect(try joined(packets).map(\.1) == packets, "byte \(place)")
        }
        #expect(try joined(base).count == 1)
        // A longer one behind a shorter, something behind PSH, nothing to carry.
        for packets in [
            segments([600, 700]), segments([600, 300, 300]), segments([600, 600], flags: [0x18, 0x10]),
            segments([600, 0]),
        ] {
            #expect(try joined(packets).count > 1)
        }
        // Checksums that nobody vouches for, and a kernel that takes no super-packets.
        #expect(try joined(base, flags: 0).map(\.1) == base)
        #expect(try joined(base, capabilities: [.partialChecksum]).map(\.1) == base)
    }

    @Test("UDP datagrams of one size become one, the last may be shorter")
    func udp() throws {
        let packets = [500, 500, 100].enumerated().map { index, size in
            PacketBuilder.udp(
                identification: UInt16(index), payload: [UInt8](repeating: UInt8(index), count: size),
                partial: true)
        }
        let out = try joined(packets, offset: 6)
        let (header, packet) = try #require(out.first)
        #expect(out.count == 1 && header.segmentationType == VirtioNetHeader.segmentationUDP)
        #expect(try cut(header, packet) == packets.map { completed($0, field: 26) })
    }

    @Test("Any stream of segments comes out whole and in order, and nothing above 64 KiB", arguments: 0..<40)
    func property(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var packets: [[UInt8]] = []
        for _ in 0..<20 {
            let size = Int.random(in: 1...1400, using: &generator)
            let count = Int.random(in: 1...70, using: &generator)
            let last = Int.random(in: 1...size, using: &generator)
            packets += segments(
                [Int](repeating: size, count: count) + [last],
                start: UInt32.random(in: 0 ... .max, using: &generator))
        }
        let out = try joined(packets)
        #expect(out.allSatisfy { $0.1.count <= 65_535 })
        var back: [[UInt8]] = []
        for (header, packet) in out { back += try cut(header, packet) }
        #expect(back == packets.map { completed($0, field: 36) })
    }
}
