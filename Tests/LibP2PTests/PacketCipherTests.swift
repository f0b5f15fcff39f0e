import LibP2P
import TestSupport
import Testing
import Timing

@Suite("Sealing many messages under one key")
struct PacketCipherTests {
    private static let algorithms = PacketCipher.Algorithm.allCases

    private func pair(
        _ algorithm: PacketCipher.Algorithm, key: [UInt8]? = nil, prefix: UInt32 = 0
    ) throws -> (PacketCipher, PacketCipher) {
        let bytes = key ?? (0..<algorithm.keyLength).map { UInt8($0) }
        func cipher(seals: Bool) throws -> PacketCipher {
            try #require(
                PacketCipher(
                    key: SecretBytes(copying: bytes), algorithm: algorithm, seals: seals, noncePrefix: prefix)
            )
        }
        return (try cipher(seals: true), try cipher(seals: false))
    }

    private func sealed(_ message: [UInt8], _ counter: UInt64, by cipher: PacketCipher) throws -> [UInt8] {
        var bytes = message + [UInt8](repeating: 0, count: PacketCipher.tagLength)
        let done = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { cipher.seal($0, count: message.count, counter: counter) }
        }
        #expect(done == true)
        return bytes
    }

    private func opened(_ message: [UInt8], _ counter: UInt64, by cipher: PacketCipher) -> [UInt8]? {
        let count = message.count - PacketCipher.tagLength
        var bytes = message
        let done = bytes.withUnsafeMutableBytes { buffer in
            buffer.baseAddress.map { cipher.open($0, count: count, counter: counter) }
        }
        return done == true ? Array(bytes.prefix(count)) : nil
    }

    /// The same message in pieces that end where `cuts` say.
    private func inPieces(
        _ message: [UInt8], _ counter: UInt64, cuts: [Int], by cipher: PacketCipher, seals: Bool
    ) -> [UInt8]? {
        let count = message.count - (seals ? 0 : PacketCipher.tagLength)
        var result = [UInt8](repeating: 0, count: count + (seals ? PacketCipher.tagLength : 0))
        let done = message.withUnsafeBytes { source in
            result.withUnsafeMutableBytes { target -> Bool in
                guard let from = source.baseAddress, let to = target.baseAddress, cipher.begin(counter) else {
                    return false
                }
                var (taken, written) = (0, 0)
                for end in cuts + [count] {
                    guard let more = cipher.update(from + taken, into: to + written, count: end - taken)
                    else { return false }
                    taken = end
                    written += more
                }
                return seals
                    ? cipher.finishSealing(rest: to + written, tag: to + count)
                    : cipher.finishOpening(rest: to + written, tag: from + count)
            }
        }
        return done ? result : nil
    }

    @Test(
        "AES-128-OCB gives the answers of RFC 7253, Appendix A, that have no associated data",
        arguments: [
            (0x0, 0, "785407bfffc8ad9edcc5520ac9111ee6"),
            (0x3, 8, "45dd69f8f5aae72414054cd1f35d82760b2cd00d2f99bfa9"),
            (0x6, 16, "5ce88ec2e0692706a915c00aeb8b2396f40e1c743f52436bdf06d8fa1eca343d"),
            (0x9, 24, "221bd0de7fa6fe993eccd769460a0af2d6cded0c395b1c3ce725f32494b9f914d85c0b1eb38357ff"),
            (
                0xc, 32,
                "2942bfc773bda23cabc6acfd9bfd5835bd300f0973792ef46040c53f1432bcdfb5e1dde3bc18a5f840b52e653444d5df"
            ),
            (
                0xf, 40,
                "4412923493c57d5de0d700f753cce0d1d2d95060122e9f15a5ddbfc5787e50b5cc55ee507bcb084e479ad363ac366b95a98ca5f3000b1479"
            ),
        ])
    func rfc7253(_ last: Int, _ length: Int, _ expected: String) throws {
        let (sealing, opening) = try pair(.aes128OCB, prefix: 0xbbaa_9988)
        let counter: UInt64 = 0x7766_5544_3322_1100 | UInt64(last)
        let message = (0..<length).map { UInt8($0) }
        let result = try sealed(message, counter, by: sealing)
        #expect(Hex.encode(result) == expected)
        #expect(opened(result, counter, by: opening) == message)
    }

    @Test("The longest block gives the answer of an implementation that was written from RFC 7253's text")
    func longOCB() throws {
        let (sealing, _) = try pair(.aes128OCB)
        let message = (0..<65_545).map { UInt8(truncatingIfNeeded: $0 * 7) }
        let result = try sealed(message, 0x8000_0000_0000_0001, by: sealing)
        #expect(Hex.encode(result.suffix(16)) == "a9eb9e8d170a975b69048203e8cb6a34")
        #expect(
            Hex.encode(Crypto.sha256(result))
                == "b88a817aa3a3df93eef55136559bd567827ba05a180a37d4e883304072b71c44")
    }

    @Test("A message in pieces of any length is the same as in one", arguments: algorithms)
    func pieces(_ algorithm: PacketCipher.Algorithm) throws {
        var random = SeededGenerator(seed: 7253)
        let (sealing, opening) = try pair(algorithm)
        for counter in 1...200 as ClosedRange<UInt64> {
            let message = (0..<Int.random(in: 1...400, using: &random)).map { _ in
                UInt8.random(in: .min ... .max, using: &random)
            }
            let cuts = (0..<Int.random(in: 0...5, using: &random))
                .map { _ in Int.random(in: 0...message.count, using: &random) }.sorted()
            let whole = try sealed(message, counter, by: sealing)
            #expect(inPieces(message, counter, cuts: cuts, by: sealing, seals: true) == whole)
            #expect(inPieces(whole, counter, cuts: cuts, by: opening, seals: false) == message)
            #expect(opened(whole, counter, by: opening) == message)
        }
    }

    @Test(
        "A change of any bit, of the counter or of the length is found; what follows opens",
        arguments: algorithms)
    func tampered(_ algorithm: PacketCipher.Algorithm) throws {
        let (sealing, opening) = try pair(algorithm)
        let message = (0..<45).map { UInt8($0) }
        let whole = try sealed(message, 9, by: sealing)
        for bit in 0..<(whole.count * 8) {
            var changed = whole
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(opened(changed, 9, by: opening) == nil, "bit \(bit)")
            #expect(inPieces(changed, 9, cuts: [16], by: opening, seals: false) == nil, "bit \(bit)")
        }
        #expect(opened(whole, 8, by: opening) == nil)
        for count in 16..<whole.count { #expect(opened(Array(whole.prefix(count)), 9, by: opening) == nil) }
        #expect(opened(whole + [0], 9, by: opening) == nil)
        #expect(opened(whole, 9, by: opening) == message)
    }

    @Test("A key of another length is refused", arguments: algorithms)
    func keyLength(_ algorithm: PacketCipher.Algorithm) {
        #expect(algorithm.isAvailable)
        for count in [0, 15, 16, 17, 24, 31, 32, 33] where count != algorithm.keyLength {
            let key = SecretBytes(copying: [UInt8](repeating: 1, count: count))
            #expect(PacketCipher(key: key, algorithm: algorithm, seals: true) == nil)
        }
    }
}
