import Synchronization
import TestSupport
import Testing
import Timing

@testable import VPN

/// Answers requests from a script and keeps what was sent.
final class ScriptedNetlink: NetlinkTransport {
    private let state: Mutex<(sent: [[UInt8]], answers: [[UInt8]])>

    init(answers: [[UInt8]]) {
        state = Mutex(([], answers))
    }

    var sent: [[UInt8]] { state.withLock { $0.sent } }

    func send(_ request: [UInt8]) throws(NetlinkError) {
        state.withLock { $0.sent.append(request) }
    }

    func receive() throws(NetlinkError) -> [UInt8] {
        let answer = state.withLock { $0.answers.isEmpty ? nil : $0.answers.removeFirst() }
        guard let answer else { throw .socket(call: "recv", errno: 11) }
        return answer
    }
}

/// Byte for byte, on a little-endian machine, as `strace ip …` shows the same requests.
@Suite("Netlink")
struct NetlinkTests {
    private static func hex(_ text: String) -> [UInt8] {
        Hex.decode(text.filter { !$0.isWhitespace }) ?? []
    }

    private static func acknowledgement(_ sequence: UInt8, code: Int32 = 0) -> [UInt8] {
        hex("24000000 0200 0000 \(Hex.encode([sequence]))000000 00000000") + Netlink.bytes(of: code)
            + [UInt8](repeating: 0, count: 16)
    }

    private static let edgevpn0 = hex(
        """
        54000000 1000 0000 01000000 00000000
        00 00 fe ff 07000000 d1100100 00000000
        0d00 0300 65646765 76706e30 00 000000
        0800 0400 b0040000
        1000 1200 0800 0100 74756e00 0400 0200
        """)

    @Test("A device is looked up by its name")
    func lookUp() throws {
        var answer = Self.edgevpn0
        answer[0] = UInt8(answer.count)
        let transport = ScriptedNetlink(answers: [answer])
        var netlink = RouteNetlink(transport: transport)
        let link = try netlink.link(named: "edgevpn0")
        #expect(link == InterfaceState(index: 7, name: "edgevpn0", mtu: 1200, isUp: true, kind: "tun"))
        #expect(
            transport.sent == [
                Self.hex(
                    """
                    30000000 1200 0100 01000000 00000000
                    00000000 00000000 00000000 00000000
                    0d00 0300 65646765 76706e30 00 000000
                    """)
            ])
    }

    @Test("A device that is not there is no error")
    func missing() throws {
        var netlink = RouteNetlink(transport: ScriptedNetlink(answers: [Self.acknowledgement(1, code: -19)]))
        let link = try netlink.link(named: "edgevpn0")
        #expect(link == nil)
    }

    @Test("MTU, up, address, removal and route are the bytes that the kernel expects")
    func requests() throws {
        let transport = ScriptedNetlink(answers: (1...6).map { Self.acknowledgement($0) })
        var netlink = RouteNetlink(transport: transport)
        let address = AssignedAddress(VirtualAddress(rawValue: 0x0a01_0005), prefixLength: 24)
        try netlink.setMTU(1200, ofLink: 7)
        try netlink.setUp(7)
        try netlink.disableIPv6Addresses(ofLink: 7)
        try netlink.add(address, toLink: 7)
        try netlink.remove(address, fromLink: 7)
        try netlink.addRoute(to: .standard, from: address.address, throughLink: 7)
        let expected = [
            """
            28000000 1000 0500 01000000 00000000 00000000 07000000 00000000 00000000
            0800 0400 b0040000
            """,
            "20000000 1000 0500 02000000 00000000 00000000 07000000 01000000 01000000",
            """
            30000000 1000 0500 03000000 00000000 00000000 07000000 00000000 00000000
            1000 1a00 0c00 0a00 0500 0800 01 000000
            """,
            """
            28000000 1400 0505 04000000 00000000 02 18 00 00 07000000
            0800 0200 0a010005 0800 0100 0a010005
            """,
            """
            28000000 1500 0500 05000000 00000000 02 18 00 00 07000000
            0800 0200 0a010005 0800 0100 0a010005
            """,
            """
            34000000 1800 0505 06000000 00000000 02 18 00 00 fe 04 fd 01 00000000
            0800 0100 0a010000 0800 0700 0a010005 0800 0400 07000000
            """,
        ].map(Self.hex)
        #expect(transport.sent == expected)
    }

    @Test("Addresses and routes of the device are told from those of others")
    func lists() throws {
        func address(_ index: String, _ value: String, prefix: String) -> [UInt8] {
            Self.hex(
                "20000000 1400 0200 01000000 00000000 02 \(prefix) 80 00 \(index)000000 0800 0200 \(value)")
        }
        func route(_ table: String, _ index: String, _ value: String) -> [UInt8] {
            Self.hex(
                "2c000000 1800 0200 02000000 00000000 02 18 00 00 \(table) 02 fd 01 00000000 0800 0100 \(value) 0800 0400 \(index)000000"
            )
        }
        func done(_ sequence: String) -> [UInt8] {
            Self.hex("14000000 0300 0200 \(sequence)000000 00000000 00000000")
        }
        let transport = ScriptedNetlink(answers: [
            address("01", "7f000001", prefix: "08") + address("07", "0a010005", prefix: "18"),
            address("07", "c0a80001", prefix: "20"), done("01"),
            route("fe", "07", "0a010000") + route("ff", "07", "0a010005") + route("fe", "02", "0a020000"),
            done("02"),
        ])
        var netlink = RouteNetlink(transport: transport)
        let addresses = try netlink.addresses(ofLink: 7)
        #expect(
            addresses == [
                AssignedAddress(VirtualAddress(rawValue: 0x0a01_0005), prefixLength: 24),
                AssignedAddress(VirtualAddress(rawValue: 0xc0a8_0001), prefixLength: 32),
            ])
        let routes = try netlink.routes(ofLink: 7)
        #expect(
            routes == [
                AssignedRoute(destination: VirtualAddress(rawValue: 0x0a01_0000), prefixLength: 24)
            ])
    }

    @Test("What the kernel refuses is an error that says what and why")
    func refused() throws {
        var netlink = RouteNetlink(transport: ScriptedNetlink(answers: [Self.acknowledgement(1, code: -1)]))
        #expect(throws: NetlinkError.refused(request: "set the MTU 1200", errno: 1)) {
            try netlink.setMTU(1200, ofLink: 7)
        }
        #expect(throws: NetlinkError.socket(call: "recv", errno: 11)) { try netlink.setUp(7) }
    }

    @Test("Random answers never trap")
    func fuzz() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<3000 {
            var answer = Self.edgevpn0
            answer[0] = UInt8(answer.count)
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                answer[Int.random(in: 0..<answer.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            answer = Array(answer.prefix(Int.random(in: 0...answer.count, using: &generator)))
            var netlink = RouteNetlink(transport: ScriptedNetlink(answers: [answer]))
            _ = try? netlink.link(named: "x")
            netlink = RouteNetlink(transport: ScriptedNetlink(answers: [answer]))
            _ = try? netlink.addresses(ofLink: 7)
        }
    }
}
