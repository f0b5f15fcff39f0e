import Foundation
import Testing

@testable import CloudConfig

@Suite("What a machine is called")
struct MachineIdentityTests {
    @Test("the UUID is the machine ID and the host's name, the D-Bus file first")
    func uuid() throws {
        try withDirectory { root in
            try write("be249c08f7f043f0a16243985875afc2\n", to: "\(root)/etc/machine-id")
            try write("kairos-be24\n", to: "\(root)/etc/hostname")
            let machine = try MachineIdentity(root: root, environment: [:])
            #expect(machine.hostName == "kairos-be24")
            #expect(machine.uuid == "be249c08f7f043f0a16243985875afc2-kairos-be24")
            try write(" 0123\n", to: "\(root)/var/lib/dbus/machine-id")
            #expect(try MachineIdentity(root: root + "/", environment: [:]).uuid == "0123-kairos-be24")
        }
    }

    @Test("an empty file is passed over, and UUID of the environment wins")
    func precedence() throws {
        try withDirectory { root in
            try write("\n", to: "\(root)/var/lib/dbus/machine-id")
            try write("4567", to: "\(root)/etc/machine-id")
            try write("a", to: "\(root)/etc/hostname")
            #expect(try MachineIdentity(root: root, environment: ["UUID": ""]).uuid == "4567-a")
            #expect(try MachineIdentity(root: root, environment: ["UUID": "mine"]).uuid == "mine")
        }
    }

    @Test("a machine without an ID is an error that says how to make one")
    func missing() throws {
        try withDirectory { root in
            let problem = #expect(throws: MachineIdentity.Problem.self) {
                try MachineIdentity(root: root, environment: [:])
            }
            #expect(problem?.description.contains("systemd-machine-id-setup") == true)
            #expect(problem?.description.contains(root) == true)
        }
    }

    @Test("without a file of its own a root has the machine's name")
    func kernelName() throws {
        try withDirectory { root in
            let machine = try MachineIdentity(root: root, environment: ["UUID": "x"])
            #expect(machine.hostName == ProcessInfo.processInfo.hostName || !machine.hostName.isEmpty)
        }
    }
}
