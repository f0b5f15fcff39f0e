import Foundation
import LibP2P
import Testing

@testable import VPN

@Suite("The lease file")
struct LeaseFileTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("lease-\(UUID())").path

    private func file() -> LeaseFile { LeaseFile(directory: folder + "/deep/lease", name: "831bf1c4") }

    @Test("A lease that was written is read back, in EdgeVPN's format, readable by root alone")
    func roundTrip() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let lease = file()
        #expect(try lease.read() == .none)
        let address = try #require(VirtualAddress("10.1.0.42"))
        try lease.write(try #require(VirtualAddress("10.1.0.4")))
        try lease.write(address)
        #expect(try lease.read() == .address(address))
        let path = folder + "/deep/lease/831bf1c4"
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "10.1.0.42")
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/deep/lease") == ["831bf1c4"])
        try lease.remove()
        try lease.remove()
        #expect(try lease.read() == .none)
    }

    @Test(
        "A torn or foreign lease is set aside and not used",
        arguments: [
            "", "10.1.", "10.1.0.300", "garbage", "10.1.0.4\n\n", String(repeating: "1", count: 5000),
        ])
    func damaged(content: String) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let lease = file()
        try lease.write(try #require(VirtualAddress("10.1.0.4")))
        let path = folder + "/deep/lease/831bf1c4"
        try Data(content.utf8).write(to: URL(fileURLWithPath: path))
        #expect(try lease.read() == .setAside(path + ".damaged"))
        #expect(FileManager.default.fileExists(atPath: path + ".damaged"))
        #expect(try lease.read() == .none)
    }

    @Test("A trailing newline is accepted, a directory or a link in its place is set aside")
    func oddities() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let lease = file()
        let address = try #require(VirtualAddress("10.1.0.4"))
        try lease.write(address)
        let path = folder + "/deep/lease/831bf1c4"
        try Data("10.1.0.4\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try lease.read() == .address(address))
        try lease.remove()
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        #expect(try lease.read() == .setAside(path + ".damaged"))
        try FileManager.default.removeItem(atPath: path + ".damaged")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/etc/hostname")
        #expect(try lease.read() == .setAside(path + ".damaged"))
    }

    @Test("A folder that cannot be made is an error that names it and the remedy")
    func unwritable() throws {
        let lease = LeaseFile(directory: "/proc/nowhere/lease", name: "x")
        #expect(throws: FileError.self) { try lease.write(VirtualAddress(rawValue: 0x0a01_0004)) }
        #expect(try lease.read() == .none)
    }
}
