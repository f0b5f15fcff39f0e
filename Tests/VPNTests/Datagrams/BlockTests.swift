import LibP2P
import Synchronization
import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("Datagrams: blocks, super-packets that are sealed as one")
struct BlockTests {
    private func pair(
        _ algorithm: PacketCipher.Algorithm = .aes256GCM, maximumPacket: Int = 1420,
        blocks: OffloadCapabilities = [.partialChecksum, .tcpSegmentation], firstCounter: UInt64 = 0
    ) throws -> (DatagramSession, DatagramSession) {
        let keys = [UInt8(1), 2].map {
            SecretBytes(copying: [UInt8](repeating: $0, count: algorithm.keyLength))
        }
        let peer = Identity.generate().peerID
        func session(_ local: UInt32, _ remote: UInt32, _ send: Int) throws -> DatagramSession {
            try #require(
                DatagramSession(
                    peer: peer, localIndex: local, remoteIndex: remote, maximumPacket: maximumPacket,
                    sendKey: keys[send], receiveKey: keys[1 - send], algorithm: algorithm, blocks: blocks,
                    firstCounter: firstCounter))
        }
        return (try session(0x0102_0304, 0x0506_0708, 0), try session(0x0506_0708, 0x0102_0304, 1))
    }

    /// The parts of a block.
    private func sealed(_ framed: [UInt8], by session: DatagramSession) -> [[UInt8]] {
        let part = session.pieceLength(for: framed.count) + DatagramFormat.partHeaderLength
        var target = [UInt8](repeating: 0xee, count: 1 << 17)
        let total = target.withUnsafeMutableBytes { target in
            framed.withUnsafeBytes { framed in
                target.baseAddress.flatMap { session.sealBlock(framed, into: $0) }
            }
        }
        return stride(from: 0, to: total ?? 0, by: part).map {
            Array(target[$0..<min($0 + part, total ?? 0)])
        }
    }

    /// What `DatagramReceiver` does with one bundle of the kernel that holds a block.
    private func opened(_ datagrams: [UInt8], segment: Int, by session: DatagramSession) -> [UInt8]? {
        let header = DatagramFormat.partHeaderLength
        var target = [UInt8](repeating: 0, count: DatagramFormat.maximumBlock)
        return datagrams.withUnsafeBytes { bytes -> [UInt8]? in
            guard let start = bytes.baseAddress,
                let part = DatagramPart(
                    UnsafeRawBufferPointer(rebasing: bytes[..<min(segment, bytes.count)])),
                let whole = part.wholeBlock(in: bytes, segment: segment)
            else { return nil }
            let first = min(segment, bytes.count)
            let length = target.withUnsafeMutableBytes {
                session.openBlock(
                    start + header, stride: first, piece: first - header,
                    count: whole - (part.last + 1) * header,
                    counter: part.counter, into: $0)
            }
            return length.map { Array(target.prefix($0)) }
        }
    }

    @Test("The layout: header, tag first, then what the AEAD's one-shot implementation gives")
    func layout() throws {
        let (first, second) = try pair(firstCounter: 0x0102_0304_0506)
        let framed = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
        let parts = sealed(framed, by: first)
        #expect(first.maximumPiece == 1424 && first.pieceLength(for: 3000) == 1008)
        #expect(parts.map(\.count) == [1024, 1024, 16 + 3016 - 2 * 1008])
        for (number, part) in parts.enumerated() {
            #expect(part.prefix(16) == [5, 6, 7, 8, 0x80, 0, 1, 2, 3, 4, 5, 6, UInt8(number), 2, 0, 0])
        }
        let key = SecretBytes(copying: [UInt8](repeating: 1, count: 32))
        let nonce: [UInt8] = [0, 0, 0, 0, 0x80, 0, 1, 2, 3, 4, 5, 6]
        let expected = try AESGCM.seal(framed, key: key, nonce: nonce)
        let pieces = parts.flatMap { $0.dropFirst(16) }
        #expect(Array(pieces.prefix(16)) == Array(expected.suffix(16)))
        #expect(Array(pieces.dropFirst(16)) == Array(expected.dropLast(16)))
        #expect(opened(parts.flatMap { $0 }, segment: 1024, by: second) == framed)
        // Twice, and to the wrong end.
        #expect(opened(parts.flatMap { $0 }, segment: 1024, by: second) == nil)
        #expect(opened(parts.flatMap { $0 }, segment: 1024, by: first) == nil)
    }

    @Test(
        "Any length comes back as it was, in datagrams no longer than that of the largest packet",
        arguments: PacketCipher.Algorithm.allCases, [576, 1200, 1420, 8920, 65_000])
    func anyLength(_ algorithm: PacketCipher.Algorithm, _ mtu: Int) throws {
        let (first, second) = try pair(algorithm, maximumPacket: mtu)
        let piece = first.maximumPiece
        let lengths = [1, piece - 17, piece - 16, piece - 15, piece, 2 * piece - 16, 2 * piece - 15, 65_545]
        for length in lengths where length + 16 <= piece * DatagramFormat.maximumParts && length <= 65_545 {
            let framed = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ length) }
            let parts = sealed(framed, by: first)
            #expect(parts.count == (length + 16 + piece - 1) / piece)
            #expect(parts.allSatisfy { $0.count <= mtu + DatagramFormat.overhead && $0.count > 16 })
            #expect(
                opened(parts.flatMap { $0 }, segment: first.pieceLength(for: length) + 16, by: second)
                    == framed)
        }
    }

    @Test("Pieces that are not whole blocks of AES open as well", arguments: PacketCipher.Algorithm.allCases)
    func unevenPieces(_ algorithm: PacketCipher.Algorithm) throws {
        let (first, second) = try pair(algorithm)
        for piece in [17, 25, 1001] {
            let framed = (0..<3000).map { UInt8(truncatingIfNeeded: $0 &* 3) }
            let parts = sealed(framed, by: first)
            let counter = UInt64(parts[0][4..<12].reduce(0) { $0 << 8 | UInt64($1) })
            let pieces = parts.flatMap { $0.dropFirst(16) }
            var target = [UInt8](repeating: 0, count: DatagramFormat.maximumBlock)
            let length = pieces.withUnsafeBytes { pieces in
                target.withUnsafeMutableBytes { target in
                    pieces.baseAddress.flatMap {
                        second.openBlock(
                            $0, stride: piece, piece: piece, count: pieces.count, counter: counter,
                            into: target)
                    }
                }
            }
            #expect(length.map { Array(target.prefix($0)) } == framed)
        }
    }

    @Test(
        "The kernel takes the usual super-packet in one call: 47 segments, with timestamps, at an MTU of 1420"
    )
    func oneCall() throws {
        let (first, _) = try pair()
        let parts = sealed([UInt8](repeating: 0, count: 10 + 52 + 47 * 1368), by: first)
        #expect(parts.count == 46 && parts.reduce(0) { $0 + $1.count } <= DatagramFormat.maximumBundle)
    }

    @Test(
        "A change of any byte makes the block worthless, and harms none that follow",
        arguments: PacketCipher.Algorithm.allCases)
    func tampered(_ algorithm: PacketCipher.Algorithm) throws {
        let (first, second) = try pair(algorithm, maximumPacket: 200)
        let framed = (0..<600).map { UInt8(truncatingIfNeeded: $0) }
        let segment = first.pieceLength(for: 600) + 16
        let block = sealed(framed, by: first).flatMap { $0 }
        // The index selects the session, before all this.
        for place in 4..<block.count where !(segment..<(segment + 4)).contains(place) {
            var changed = block
            changed[place] ^= 0x80
            #expect(opened(changed, segment: segment, by: second) == nil, "byte \(place)")
        }
        #expect(opened(Array(block.dropLast()), segment: segment, by: second) == nil)
        #expect(opened(Array(block.dropFirst(segment)), segment: segment, by: second) == nil)
        #expect(opened(block, segment: segment, by: second) == framed)
    }

    @Test("A block and a single datagram never share a nonce; neither is taken for the other")
    func separate() throws {
        let (first, second) = try pair()
        let part = try #require(sealed([1, 2, 3], by: first).first)
        var bytes = part
        #expect(bytes.withUnsafeMutableBytes { second.open($0) == nil })
        bytes[4] &= 0x7f
        #expect(bytes.withUnsafeMutableBytes { second.open($0) == nil })
        let single = try #require(first.control(kind: DatagramFormat.probe, number: 1))
        #expect(single.withUnsafeBytes { DatagramPart($0) } == nil)
        #expect(single[4..<12].last == 1)
    }

    @Test("Blocks are for super-packets that the peer takes, while nothing is lost")
    func wanted() throws {
        var header = VirtioNetHeader()
        header.flags = VirtioNetHeader.needsChecksum
        let (first, _) = try pair()
        #expect(!first.sealsBlock(header, count: 1000))
        header.segmentationType = VirtioNetHeader.segmentationUDP
        #expect(!first.sealsBlock(header, count: 1000))
        header.segmentationType = VirtioNetHeader.segmentationTCPv4
        #expect(first.sealsBlock(header, count: 1000))
        #expect(first.sealsBlock(header, count: 65_545))
        first.sealsBlocks.store(false, ordering: .relaxed)
        #expect(!first.sealsBlock(header, count: 1000))
        let (none, _) = try pair(blocks: [])
        #expect(!none.sealsBlock(header, count: 1000))
        // An MTU that makes too many parts.
        let (narrow, _) = try pair(maximumPacket: 200)
        #expect(!narrow.sealsBlock(header, count: 65_545))
    }

    @Test("Bytes that are no part are refused")
    func badParts() {
        let good: [UInt8] = [1, 2, 3, 4, 0x80, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0, 7]
        #expect(good.withUnsafeBytes { DatagramPart($0) } != nil)
        for count in 0..<good.count {
            #expect(good.prefix(count).withUnsafeBytes { DatagramPart($0) } == nil)
        }
        for (place, value) in [(4, UInt8(0)), (12, 2), (13, 128), (14, 1), (15, 1)] {
            var bad = good
            bad[place] = value
            #expect(bad.withUnsafeBytes { DatagramPart($0) } == nil, "byte \(place)")
        }
    }

    @Test("Parts that come apart, mixed with other blocks, twice and in any order make the same blocks")
    func assembled() throws {
        var random = SeededGenerator(seed: 41)
        for _ in 0..<50 {
            let (first, second) = try pair()
            var assembler = BlockAssembler()
            defer { assembler.deallocate() }
            let packets = (0..<4).map { number in
                (0..<Int.random(in: 1500...30_000, using: &random)).map {
                    UInt8(truncatingIfNeeded: $0 ^ number)
                }
            }
            var parts: [[UInt8]] = []
            var firsts: [[UInt8]] = []
            for packet in packets {
                var block = sealed(packet, by: first)
                firsts.append(block.removeFirst())
                parts += block
                parts += block.prefix(1)
            }
            // A last part must not be the first of its block to come.
            parts = firsts.shuffled(using: &random) + parts.shuffled(using: &random)
            var got: [[UInt8]] = []
            for bytes in parts {
                let part = try #require(bytes.withUnsafeBytes { DatagramPart($0) })
                guard second.window.accepts(part.counter & ~DatagramFormat.blockFlag) else { continue }
                let block = bytes.withUnsafeBytes { bytes in
                    assembler.add(part, piece: UnsafeRawBufferPointer(rebasing: bytes[16...])) { _ in
                        Issue.record("lost a block")
                    }
                }
                guard let block else { continue }
                var target = [UInt8](repeating: 0, count: DatagramFormat.maximumBlock)
                let length = target.withUnsafeMutableBytes {
                    second.openBlock(
                        block.bytes, stride: block.piece, piece: block.piece, count: block.count,
                        counter: part.counter, into: $0)
                }
                got.append(Array(target.prefix(try #require(length))))
            }
            #expect(Set(got) == Set(packets) && got.count == packets.count)
            #expect(assembler.waiting == 0)
        }
    }

    @Test(
        "A block without a part is given up and told of: when others need the room, and when it is far behind"
    )
    func lost() {
        var assembler = BlockAssembler()
        defer { assembler.deallocate() }
        var lost: [UInt32] = []
        let piece = [UInt8](repeating: 0, count: 32)
        func add(_ index: UInt32, _ counter: UInt64, number: Int = 0, last: Int = 2) -> Bool {
            piece.withUnsafeBytes { piece in
                var header: [UInt8] = [UInt8(index), 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, UInt8(counter)]
                header += [UInt8(number), UInt8(last), 0, 0, 0]
                guard let part = header.withUnsafeBytes({ DatagramPart($0) }) else { return false }
                return assembler.add(part, piece: piece) { lost.append($0 >> 24) } != nil
            }
        }
        for counter in 0..<UInt64(BlockAssembler.maximumBlocks) { #expect(!add(1, counter)) }
        #expect(lost.isEmpty && assembler.waiting == BlockAssembler.maximumBlocks)
        #expect(!add(2, 0))
        #expect(lost == [1] && assembler.waiting == BlockAssembler.maximumBlocks)
        assembler.passed(index: 1 << 24, counter: 65) { lost.append($0 >> 24) }
        #expect(lost == [1] && assembler.waiting == BlockAssembler.maximumBlocks)
        assembler.passed(index: 1 << 24, counter: 66) { lost.append($0 >> 24) }
        #expect(lost == [1, 1])
        // The last part alone says nothing of where it belongs.
        #expect(!add(3, 0, number: 2))
        #expect(lost == [1, 1, 3] && assembler.waiting == BlockAssembler.maximumBlocks - 1)
    }

    @Test("Parts of one block that contradict each other are not joined")
    func contradictions() throws {
        var assembler = BlockAssembler()
        defer { assembler.deallocate() }
        func add(_ number: UInt8, _ last: UInt8, _ count: Int) throws -> Bool {
            let bytes =
                [1, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 1, number, last, 0, 0]
                + [UInt8](repeating: 0, count: count)
            let part = try #require(bytes.withUnsafeBytes { DatagramPart($0) })
            return bytes.withUnsafeBytes { bytes in
                assembler.add(part, piece: UnsafeRawBufferPointer(rebasing: bytes[16...])) { _ in } != nil
            }
        }
        #expect(try !add(0, 2, 64))
        #expect(try !add(1, 2, 63))
        #expect(try !add(1, 3, 64))
        #expect(try !add(2, 2, 65))
        #expect(try !add(0, 2, 64))
        #expect(try !add(1, 2, 64))
        #expect(try add(2, 2, 1))
        // Past the end of any block.
        #expect(try !add(0, 127, 1000))
        for number in 1..<127 { #expect(try !add(UInt8(number), 127, 1000)) }
        #expect(try !add(127, 127, 1000))
    }

    @Test("Losses make ever longer pauses; a long time without makes them short again")
    func policy() {
        var policy = BlockPolicy()
        #expect(policy.isOpen && policy.nextDeadline == nil)
        var now = Instant.zero + .seconds(5)
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            policy.lost(at: now)
            // More of the same loss changes nothing.
            policy.lost(at: now + .milliseconds(500))
            #expect(!policy.isOpen && policy.nextDeadline == now + .seconds(seconds))
            policy.tick(at: now + .seconds(seconds) - .milliseconds(1))
            #expect(!policy.isOpen)
            now = now + .seconds(seconds)
            policy.tick(at: now)
            #expect(policy.isOpen && policy.nextDeadline == nil)
            now = now + .seconds(29)
        }
        now = now + .seconds(2)
        policy.lost(at: now)
        #expect(policy.nextDeadline == now + .seconds(1))
    }
}
