import TestSupport
import Testing
import Timing

@testable import VPN

@Suite("Virtual addresses and subnets")
struct VirtualAddressTests {
    @Test(
        "A dotted quad is read and written back",
        arguments: ["0.0.0.0", "10.1.0.5", "255.255.255.255", "192.168.10.200"])
    func roundTrip(text: String) {
        #expect(VirtualAddress(text)?.description == text)
    }

    @Test(
        "Anything but a dotted quad is refused",
        arguments: [
            "", "10.1.0", "10.1.0.", "10.1.0.5.6", "10.1.0.256", "10.1.0.05", "10.1.0.5/24", " 10.1.0.5",
            "fd00::1",
            "10.1.0.5\n", "10..0.5", "+1.0.0.1", "99999999999.1.1.1", "１0.1.0.5",
        ])
    func refused(text: String) {
        #expect(VirtualAddress(text) == nil)
    }

    @Test("A subnet knows its network, broadcast and hosts")
    func subnet() throws {
        let subnet = try VirtualSubnet("10.1.0.77/24")
        #expect(subnet == .standard)
        #expect(subnet.description == "10.1.0.0/24")
        #expect(subnet.broadcast.description == "10.1.0.255")
        #expect(subnet.hostCount == 254)
        #expect(subnet.host(0)?.description == "10.1.0.1")
        #expect(subnet.host(253)?.description == "10.1.0.254")
        #expect(subnet.host(254) == nil)
        #expect(subnet.host(-1) == nil)
        #expect(subnet.standardAPIAddress.description == "10.1.0.2")
        #expect(!subnet.contains(try #require(VirtualAddress("10.1.1.0"))))
    }

    @Test("Subnets of /8 to /30 are taken, others refused with the reason")
    func prefixes() throws {
        for prefix in 8...30 {
            let subnet = try VirtualSubnet("10.0.0.0/\(prefix)")
            #expect(subnet.hostCount == (1 << (32 - prefix)) - 2)
        }
        #expect(throws: AddressError.prefixOutOfRange(31)) { try VirtualSubnet("10.1.0.0/31") }
        #expect(throws: AddressError.prefixOutOfRange(0)) { try VirtualSubnet("10.1.0.0/0") }
        for text in ["10.1.0.0", "10.1.0.0/", "10.1.0.0/+8", "10.1.0/24", "10.1.0.0/24/1", "10.1.0.0/024"] {
            #expect(throws: AddressError.malformedSubnet(text)) { try VirtualSubnet(text) }
        }
    }

    @Test("Every host but the reserved one is a candidate exactly once, the first host last")
    func candidates() throws {
        for prefix in 20...30 {
            let subnet = try VirtualSubnet("172.16.0.0/\(prefix)")
            let all = Array(
                CandidateSequence(
                    owner: "node-\(prefix)", subnet: subnet, reserved: subnet.standardAPIAddress))
            #expect(Set(all).count == all.count)
            #expect(all.count == subnet.hostCount - 1)
            #expect(all.last == subnet.host(0))
            #expect(all.allSatisfy { subnet.isHost($0) && $0 != subnet.standardAPIAddress })
        }
    }

    @Test("The lower half is tried before the upper half, so that stock nodes keep room above")
    func lowerHalfFirst() {
        let all = Array(
            CandidateSequence(
                owner: "a", subnet: .standard, reserved: VirtualSubnet.standard.standardAPIAddress))
        #expect(all.prefix(125).allSatisfy { $0.rawValue & 255 <= 127 })
        #expect(all.dropFirst(125).dropLast().allSatisfy { $0.rawValue & 255 > 127 })
    }

    @Test("Different nodes start at different addresses, the same node always at the same")
    func spread() {
        let reserved = VirtualSubnet.standard.standardAPIAddress
        var firsts: Set<VirtualAddress> = []
        for node in 0..<200 {
            var one = CandidateSequence(owner: "12D3KooW\(node)", subnet: .standard, reserved: reserved)
            var again = one
            let first = one.next()
            #expect(first == again.next())
            if let first { firsts.insert(first) }
        }
        #expect(firsts.count > 80)
    }
}

@Suite("Machine entries")
struct MachineEntryTests {
    private struct Signed: Decodable {
        struct Case: Decodable {
            let bucket: String
            let value: String
        }
        let cases: [Case]
    }

    @Test("The value text is Go's, byte for byte")
    func knownAnswer() throws {
        let address = try #require(VirtualAddress("10.1.0.1"))
        let entry = MachineEntry(
            peerID: "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB", hostname: "node-a",
            operatingSystem: "linux", architecture: "arm64", address: address, version: "v0.35.4")
        // The text of contract/wire.md J.7.
        #expect(
            entry.value
                == #"{"PeerID":"12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB","Hostname":"node-a","#
                + #""OS":"linux","Arch":"arm64","Address":"10.1.0.1","Version":"v0.35.4"}"#)
        #expect(MachineEntry(value: entry.value) == entry)
    }

    @Test("Characters are escaped as Go escapes them and read back")
    func escapes() throws {
        let address = try #require(VirtualAddress("10.1.0.9"))
        let entry = MachineEntry(
            peerID: "p", hostname: "a<b>&\"\\\n\u{1}\u{2028}é", operatingSystem: "linux",
            architecture: "amd64",
            address: address, version: "v")
        #expect(entry.value.contains(#""Hostname":"a\u003cb\u003e\u0026\"\\\n\u0001\u2028é""#))
        #expect(MachineEntry(value: entry.value) == entry)
    }

    @Test("Random and truncated texts are refused without harm")
    func fuzz() throws {
        let address = try #require(VirtualAddress("10.1.0.9"))
        let good = Array(
            MachineEntry(peerID: "p", hostname: "h", address: address, version: "v").value.utf8)
        for length in 0..<good.count {
            #expect(MachineEntry(value: String(decoding: good[..<length], as: UTF8.self)) == nil)
        }
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<2000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            _ = MachineEntry(value: String(decoding: bytes, as: UTF8.self))
        }
        #expect(MachineEntry(value: String(repeating: " ", count: 5000)) == nil)
    }
}
