import LibP2P

/// What a packet costs in the datagrams' cipher, in place as the packet path does it.
enum Packets {
    struct NoCipher: Error {}

    static func measurements(isQuick: Bool) throws -> [Measurement] {
        try [
            ("AES-128-OCB", PacketCipher.Algorithm.aes128OCB), ("AES-256-GCM", .aes256GCM),
            ("ChaCha20-Poly1305", .chaCha20Poly1305),
        ].flatMap { name, algorithm in
            try [64, 1420].flatMap { try single(name, algorithm, bytes: $0, isQuick: isQuick) }
                + block(name, algorithm, isQuick: isQuick)
        }
    }

    private static func pair(_ algorithm: PacketCipher.Algorithm) throws -> (PacketCipher, PacketCipher) {
        let key = SecretBytes(copying: [UInt8](repeating: 1, count: algorithm.keyLength))
        guard let sealing = PacketCipher(key: key, algorithm: algorithm, seals: true),
            let opening = PacketCipher(key: key, algorithm: algorithm, seals: false)
        else { throw NoCipher() }
        return (sealing, opening)
    }

    private static func single(
        _ name: String, _ algorithm: PacketCipher.Algorithm, bytes: Int, isQuick: Bool
    ) throws -> [Measurement] {
        let (sealing, opening) = try pair(algorithm)
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: bytes + PacketCipher.tagLength, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: bytes + PacketCipher.tagLength)
        var counter: UInt64 = 0
        let sealed = try Measurement.of("\(name), packet sealed", bytes: bytes, isQuick: isQuick) {
            counter += 1
            guard sealing.seal(memory, count: bytes, counter: counter) else { throw NoCipher() }
        }
        let both = try Measurement.of("\(name), packet sealed and opened", bytes: bytes, isQuick: isQuick) {
            counter += 1
            guard sealing.seal(memory, count: bytes, counter: counter),
                opening.open(memory, count: bytes, counter: counter)
            else { throw NoCipher() }
        }
        return [sealed, both]
    }

    /// A super-packet that is sealed as one, in the pieces of 1,424 bytes that datagrams carry.
    private static func block(
        _ name: String, _ algorithm: PacketCipher.Algorithm, isQuick: Bool
    ) throws -> [Measurement] {
        let (sealing, opening) = try pair(algorithm)
        let (pieces, piece) = (44, 1424)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: pieces * piece + 16, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 7, count: pieces * piece + 16)
        var counter: UInt64 = 0
        func pass(_ cipher: PacketCipher, _ finish: (PacketCipher, UnsafeMutableRawPointer) -> Bool) throws {
            guard cipher.begin(counter) else { throw NoCipher() }
            for place in stride(from: 0, to: pieces * piece, by: piece) {
                guard cipher.update(memory + place, into: memory + place, count: piece) == piece else {
                    throw NoCipher()
                }
            }
            guard finish(cipher, memory + pieces * piece) else { throw NoCipher() }
        }
        return [
            try Measurement.of(
                "\(name), block of 44 packets sealed and opened", bytes: pieces * piece, isQuick: isQuick
            ) {
                counter += 1
                try pass(sealing) { $0.finishSealing(rest: $1, tag: $1) }
                try pass(opening) { $0.finishOpening(rest: $1, tag: $1) }
            }
        ]
    }
}
