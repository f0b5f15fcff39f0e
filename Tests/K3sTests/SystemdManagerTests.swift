internal import CSystemdMock
internal import Foundation
internal import Glibc
internal import Synchronization
internal import Systemd
internal import Testing
internal import Timing

@testable import K3s

/// Our D-Bus side against a manager of the test's own on a bus daemon of its own.
@Suite("systemd over D-Bus", .serialized)
struct SystemdManagerTests {
    /// A bus daemon with the stand-in manager on it.
    final class Bus {
        let address: String
        private let daemon = Process()
        private var mock: OpaquePointer?
        private let folder = TemporaryFolder()

        init() throws {
            let path = folder.path + "/bus"
            address = "unix:path=" + path
            let config = """
                <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
                  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
                <busconfig><type>session</type><listen>\(address)</listen><auth>EXTERNAL</auth>
                <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
                <allow own="*"/></policy></busconfig>
                """
            try Data(config.utf8).write(to: URL(fileURLWithPath: folder.path + "/bus.conf"))
            daemon.executableURL = URL(fileURLWithPath: "/usr/bin/dbus-daemon")
            daemon.arguments = ["--config-file=" + folder.path + "/bus.conf", "--nofork", "--nopidfile"]
            try daemon.run()
            let deadline = SystemTime().now() + .seconds(10)
            var result: Int32 = -1
            while result < 0, SystemTime().now() < deadline {
                result = systemd_mock_start(address, &mock)
                if result < 0 { usleep(10_000) }
            }
            guard result >= 0 else { throw Missing(what: "a bus daemon that answers (\(result))") }
        }

        var calls: [String] {
            guard let mock, let text = systemd_mock_calls(mock) else { return [] }
            return String(cString: text).split(separator: "\n").map(String.init)
        }

        func kill() {
            if let mock { systemd_mock_stop(mock) }
            mock = nil
            // Not SIGTERM: the child of a worker thread starts with that blocked.
            Glibc.kill(daemon.processIdentifier, SIGKILL)
        }

        deinit { if mock != nil { kill() } }
    }

    let service = Service(unit: "k3s.service", launch: .init(program: "", arguments: [], logFile: ""))
    let missing = Service(unit: "missing.service", launch: .init(program: "", arguments: [], logFile: ""))

    @Test("units are queued, enabled and read, and what systemd says is understood")
    func calls() async throws {
        let bus = try Bus()
        let manager = try SystemdManager(addresses: [.daemon(bus.address)])
        var status = try await manager.status(of: "k3s.service")
        #expect(status.definition == .present && status.activity == .inactive && status.isEnabled == false)
        #expect(
            status.restarts == 7 && status.needsReload && status.failure == nil && !status.conditionFailed
                && status.isQueued)
        #expect(status.since == UnixTime(seconds: 1_800_000_000))
        try await manager.reloadDefinitions()
        try await manager.enable(service)
        try await manager.start(service)
        status = try await manager.status(of: "k3s.service")
        #expect(status.activity == .active && status.detail == "running" && status.isEnabled == true)
        try await manager.restart(service)
        try await manager.stop(service)
        try await manager.disable(service)
        #expect(
            bus.calls == [
                "Reload", "EnableUnitFiles k3s.service", "StartUnit k3s.service replace",
                "RestartUnit k3s.service replace", "StopUnit k3s.service replace",
                "DisableUnitFiles k3s.service",
            ])
        await manager.shutDown()
        bus.kill()
    }

    @Test("a unit that does not exist is told apart, and is stopped already")
    func missingUnit() async throws {
        let bus = try Bus()
        let manager = try SystemdManager(addresses: [.daemon(bus.address)])
        #expect(try await manager.status(of: "missing.service").definition == .missing)
        await #expect(throws: ServiceError.unitMissing("missing.service")) {
            try await manager.start(missing)
        }
        await #expect(throws: ServiceError.unitMissing("missing.service")) {
            try await manager.enable(missing)
        }
        try await manager.stop(missing)
        try await manager.disable(missing)
        await manager.shutDown()
        bus.kill()
    }

    @Test("changes are told without asking")
    func changes() async throws {
        let bus = try Bus()
        let manager = try SystemdManager(addresses: [.daemon(bus.address)])
        let changes = await manager.changes()
        let activities = Mutex<[ServiceStatus.Activity]>([])
        let watching = Task {
            for await _ in changes {
                let activity = try await manager.status(of: "k3s.service").activity
                activities.withLock { $0.append(activity) }
                if activity == .active { return }
            }
        }
        while !bus.calls.contains("Subscribe") { try await Task.sleep(for: .milliseconds(5)) }
        try await manager.start(service)
        try await watching.value
        #expect(activities.withLock { $0.last } == .active)
        await manager.shutDown()
        bus.kill()
    }

    @Test("an answer that does not come has a deadline")
    func deadline() async throws {
        let bus = try Bus()
        let connection = try BusConnection(addresses: [.daemon(bus.address)])
        let call = BusCall(
            destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager", member: "StartUnit",
            arguments: [.string("hang.service"), .string("replace")])
        let begin = SystemTime().now()
        await #expect(throws: BusError.timedOut) {
            try await connection.call(call, deadline: .milliseconds(200))
        }
        #expect(SystemTime().now() - begin < .seconds(5))
        connection.close()
        bus.kill()
    }

    @Test("a bus that goes ends open calls, and one that is not there is told")
    func lost() async throws {
        let bus = try Bus()
        let connection = try BusConnection(addresses: [.daemon(bus.address)])
        let hanging = BusCall(
            destination: "org.freedesktop.systemd1", path: "/org/freedesktop/systemd1",
            interface: "org.freedesktop.systemd1.Manager", member: "StartUnit",
            arguments: [.string("hang.service"), .string("replace")])
        let open = Task { try await connection.call(hanging, deadline: .seconds(60)) }
        while bus.calls.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
        let begin = SystemTime().now()
        bus.kill()
        await #expect(throws: BusError.self) { try await open.value }
        #expect(SystemTime().now() - begin < .seconds(10))
        await #expect(throws: BusError.self) { try await connection.call(hanging) }
        connection.close()
        let nowhere = try SystemdManager(addresses: [
            .daemon("unix:path=/nonexistent"), .peer("unix:path=/nonexistent"),
        ])
        await #expect(throws: ServiceError.unavailable("No such file or directory")) {
            try await nowhere.status(of: "k3s.service")
        }
        await nowhere.shutDown()
        await #expect(throws: ServiceError.self) { try await nowhere.status(of: "k3s.service") }
    }

    @Test("systemd's words become ours")
    func words() {
        func status(_ unit: [String: BusValue], _ service: [String: BusValue] = [:]) -> ServiceStatus {
            SystemdManager.status(UnitState(unit: unit, service: service))
        }
        #expect(status(["LoadState": .string("masked")]).definition == .masked)
        #expect(status(["LoadState": .string("bad-setting")]).definition == .broken("bad-setting"))
        #expect(status(["ActiveState": .string("inactive"), "Job": .unsigned(7)]).isQueued)
        #expect(!status(["ActiveState": .string("activating"), "Job": .unsigned(7)]).isQueued)
        #expect(status(["ActiveState": .string("reloading")]).activity == .active)
        #expect(
            status(["ActiveState": .string("failed")], ["Result": .string("exit-code")]).failure
                == "exit-code")
        #expect(status(["UnitFileState": .string("static")]).isEnabled == nil)
        #expect(status(["UnitFileState": .string("enabled-runtime")]).isEnabled == true)
        #expect(
            status(["ConditionResult": .bool(false), "ConditionTimestamp": .unsigned(5)]).conditionFailed)
        #expect(
            !status(["ConditionResult": .bool(false), "ConditionTimestamp": .unsigned(0)]).conditionFailed)
    }
}
