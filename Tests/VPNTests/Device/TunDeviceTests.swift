import Foundation
import Testing

@testable import VPN

@Suite("The TUN device in a real kernel")
struct TunDeviceTests {
    private let address = VirtualAddress(rawValue: 0x0a01_0005)

    private func attach(_ namespace: NetworkNamespace, mtu: UInt16 = 1200) throws -> TunDevice {
        try namespace.inside { try TunDevice.attach(mtu: mtu) }
    }

    @Test("It comes up with address, MTU and route, and without IPv6")
    func comesUp() throws {
        let namespace = try NetworkNamespace()
        let device = try attach(namespace)
        let outcome = try device.apply(address: address, additional: [])
        #expect(!outcome.changes.isEmpty)
        let shown = try namespace.run("ip", "address", "show", "edgevpn0")
        #expect(shown.contains("mtu 1200"))
        #expect(shown.contains("UP"))
        #expect(shown.contains("inet 10.1.0.5/24"))
        #expect(!shown.contains("inet6"))
        #expect(try namespace.run("ip", "route").contains("10.1.0.0/24 dev edgevpn0"))
        // Linux 6.2 and later segment UDP as well.
        #expect(device.capabilities.isSuperset(of: [.partialChecksum, .tcpSegmentation]))
    }

    @Test("A restarted agent finds its device as it left it and changes nothing")
    func survives() throws {
        let namespace = try NetworkNamespace()
        let first: UInt32
        do {
            let device = try attach(namespace)
            first = try device.apply(address: address, additional: []).index
        }
        #expect(try namespace.run("ip", "address", "show", "edgevpn0").contains("inet 10.1.0.5/24"))
        let device = try attach(namespace)
        let outcome = try device.apply(address: address, additional: [])
        #expect(outcome == DeviceConfigurator.Outcome(index: first, changes: []))
    }

    @Test("Another address or MTU is put right, addresses of others stay")
    func changes() throws {
        let namespace = try NetworkNamespace()
        var device: TunDevice? = try attach(namespace)
        _ = try device?.apply(address: address, additional: [VirtualAddress(rawValue: 0x0a01_0002)])
        #expect(try namespace.run("ip", "address", "show", "edgevpn0").contains("inet 10.1.0.2/32"))
        try namespace.run("ip", "address", "add", "192.168.7.1/32", "dev", "edgevpn0")
        device = nil
        device = try attach(namespace, mtu: 1400)
        let outcome = try device?.apply(address: VirtualAddress(rawValue: 0x0a01_0009), additional: [])
        #expect(
            outcome?.changes == [
                "MTU 1200 to 1400", "remove 10.1.0.2/32", "remove 10.1.0.5/24", "add 10.1.0.9/24",
            ])
        let shown = try namespace.run("ip", "address", "show", "edgevpn0")
        #expect(shown.contains("192.168.7.1/32"))
        #expect(shown.contains("mtu 1400"))
        try namespace.run("ip", "route", "delete", "10.1.0.0/24", "dev", "edgevpn0")
        #expect(
            try device?.apply(address: VirtualAddress(rawValue: 0x0a01_0009), additional: []).changes
                == ["route 10.1.0.0/24"])
        try device?.clear()
        #expect(!(try namespace.run("ip", "address", "show", "edgevpn0").contains("10.1.0.")))
    }

    @Test("A device of another kind with the name, and a device in use, are told apart")
    func taken() throws {
        let namespace = try NetworkNamespace()
        try namespace.run("ip", "link", "add", "edgevpn0", "type", "bridge")
        #expect(throws: TunDeviceError.foreignDevice(name: "edgevpn0")) { try attach(namespace) }
        try namespace.run("ip", "link", "delete", "edgevpn0")
        let device = try attach(namespace)
        #expect(throws: TunDeviceError.inUse(name: "edgevpn0")) { try attach(namespace) }
        _ = try device.apply(address: address, additional: [])
    }

    @Test("Names that the kernel refuses, missing rights and a missing driver are errors with a remedy")
    func errors() throws {
        let namespace = try NetworkNamespace()
        for name in ["", "a name", "sixteen-bytes-xx", "a/b"] {
            #expect(throws: TunDeviceError.invalidName(name)) {
                try namespace.inside { try TunDevice.attach(name: name) }
            }
        }
        #expect(TunDeviceError.opening(name: "t", errno: 2) == .noDriver(name: "t"))
        #expect(TunDeviceError.opening(name: "t", errno: 13) == .notPermitted(name: "t"))
        #expect(TunDeviceError.attaching(name: "t", errno: 1) == .notPermitted(name: "t"))
        #expect(TunDeviceError.notPermitted(name: "t").remedy.contains("CAP_NET_ADMIN"))
        #expect(TunDeviceError.noDriver(name: "t").remedy.contains("modprobe tun"))
    }

    @Test("A device that is taken away is told to whoever reads or sets it up")
    func vanishes() throws {
        let namespace = try NetworkNamespace()
        let device = try attach(namespace)
        _ = try device.apply(address: address, additional: [])
        try namespace.run("ip", "link", "delete", "edgevpn0")
        #expect(throws: TunDeviceError.vanished(name: "edgevpn0")) {
            try device.apply(address: address, additional: [])
        }
        var bytes = [UInt8](repeating: 0, count: 2000)
        let result = Result { try bytes.withUnsafeMutableBytes { try device.read(into: $0) } }
        #expect(throws: PacketDeviceError.self) { try result.get() }
    }

    @Test("An uninstall removes the device, which nothing else does")
    func removed() throws {
        let namespace = try NetworkNamespace()
        _ = try attach(namespace)
        #expect(try namespace.run("ip", "link").contains("edgevpn0"))
        try namespace.inside { try TunDevice.remove(name: "edgevpn0") }
        #expect(!(try namespace.run("ip", "link").contains("edgevpn0")))
        try namespace.inside { try TunDevice.remove(name: "edgevpn0") }
    }

    @Test("Packets that the kernel sends are read with their header, and those written are received")
    func packets() throws {
        let namespace = try NetworkNamespace()
        let device = try attach(namespace)
        _ = try device.apply(address: address, additional: [])
        let ping = try namespace.start("ping", "-c", "1", "-W", "5", "10.1.0.9")
        defer { ping.terminate() }
        var bytes = [UInt8](repeating: 0, count: 2000)
        let packet = try #require(try readEcho(device, &bytes))
        // Turn the echo request around: addresses swapped, type 0, checksum corrected by 8 in the type.
        var reply = packet
        reply.replaceSubrange(22..<26, with: packet[26..<30])
        reply.replaceSubrange(26..<30, with: packet[22..<26])
        reply[30] = 0
        reply.replaceSubrange(32..<34, with: [0, 0])
        reply.replaceSubrange(32..<34, with: PacketBuilder.bytes(PacketBuilder.checksum(Array(reply[30...]))))
        #expect(reply.withUnsafeBytes { device.write($0) })
        ping.waitUntilExit()
        #expect(ping.terminationStatus == 0)
    }

    private func readEcho(_ device: TunDevice, _ bytes: inout [UInt8]) throws -> [UInt8]? {
        let deadline = Date().addingTimeInterval(5)
        while Date() < deadline {
            if let count = try bytes.withUnsafeMutableBytes({ try device.read(into: $0) }) {
                if count > 38, bytes[19] == 1, bytes[30] == 8 { return Array(bytes[..<count]) }
            } else {
                usleep(1000)
            }
        }
        return nil
    }
}
