internal import CSystemd

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// systemd's manager, over D-Bus (org.freedesktop.systemd1(5)): units are queued for start and stop,
/// never waited for.
package final class SystemManager: Sendable {
    private let bus: BusConnection

    private static let name = "org.freedesktop.systemd1"
    private static let path = "/org/freedesktop/systemd1"
    private static let interface = "org.freedesktop.systemd1.Manager"

    /// The ways to systemd on a machine that runs it: the system bus, and before that is up, or where
    /// there is none, systemd's own socket, which is open to root.
    package static let addresses: [BusConnection.Address] = [
        .system, .peer("unix:path=/run/systemd/private"),
    ]

    /// Prepares a connection; nothing is sent yet.
    ///
    /// - Throws: `PollThreadError` when the machine has no descriptor or thread left.
    package init(addresses: [BusConnection.Address] = SystemManager.addresses) throws(PollThreadError) {
        self.bus = try BusConnection(addresses: addresses)
    }

    /// Whether the machine was booted with systemd.
    package static var isBooted: Bool { sd_booted() > 0 }

    /// Queues the unit's start.
    package func start(_ unit: String) async throws(BusError) {
        _ = try await call("StartUnit", [.string(unit), .string("replace")])
    }

    /// Queues the unit's stop.
    package func stop(_ unit: String) async throws(BusError) {
        _ = try await call("StopUnit", [.string(unit), .string("replace")])
    }

    /// Queues the unit's restart, or its start if it does not run.
    package func restart(_ unit: String) async throws(BusError) {
        _ = try await call("RestartUnit", [.string(unit), .string("replace")])
    }

    /// Has the unit start at boot. Links are replaced only if they are the unit's own.
    package func enable(_ unit: String) async throws(BusError) {
        _ = try await call("EnableUnitFiles", [.strings([unit]), .bool(false), .bool(false)])
    }

    /// Has the unit no longer start at boot.
    package func disable(_ unit: String) async throws(BusError) {
        _ = try await call("DisableUnitFiles", [.strings([unit]), .bool(false)])
    }

    /// Has systemd read all unit files again.
    package func reload() async throws(BusError) {
        // Generators run and every unit file is read: minutes on a loaded, small machine.
        _ = try await call("Reload", [], deadline: .seconds(90))
    }

    /// The unit's state. A unit that does not exist has one, too: its `load` is `not-found`.
    package func state(of unit: String) async throws(BusError) -> UnitState {
        let path = try Self.objectPath(of: unit)
        let general = try await properties(of: path, interface: "org.freedesktop.systemd1.Unit")
        let service =
            unit.hasSuffix(".service")
            ? try await properties(of: path, interface: "org.freedesktop.systemd1.Service") : [:]
        return UnitState(unit: general, service: service)
    }

    /// Calls `handler` on the bus' thread whenever the state of one of `units` may have changed.
    package func observe(_ units: [String], _ handler: @escaping @Sendable () -> Void) throws(BusError) {
        let subscribe = BusCall(
            destination: Self.name, path: Self.path, interface: Self.interface, member: "Subscribe")
        for unit in units {
            let path = try Self.objectPath(of: unit)
            bus.subscribe(
                to: "type='signal',path='\(path)',interface='org.freedesktop.DBus.Properties',"
                    + "member='PropertiesChanged'"
            ) { _ in handler() }
        }
        // Not every end of a job changes a property: one that is skipped by a condition does not.
        bus.subscribe(
            to: "type='signal',path='\(Self.path)',interface='\(Self.interface)',member='JobRemoved'",
            greeting: subscribe
        ) { signal in
            if let signal, !signal.content.values.contains(where: { $0.text.map(units.contains) ?? false }) {
                return
            }
            handler()
        }
    }

    /// Closes the connection.
    package func close() {
        bus.close()
    }

    private func call(
        _ member: String, _ arguments: [BusArgument], deadline: Duration = .seconds(25)
    ) async throws(BusError) -> BusReply {
        try await bus.call(
            BusCall(
                destination: Self.name, path: Self.path, interface: Self.interface, member: member,
                arguments: arguments), deadline: deadline)
    }

    private func properties(of path: String, interface: String) async throws(BusError) -> [String: BusValue] {
        let call = BusCall(
            destination: Self.name, path: path, interface: "org.freedesktop.DBus.Properties",
            member: "GetAll",
            arguments: [.string(interface)])
        return try await bus.call(call).properties
    }

    /// The unit's object: its name with everything but letters and digits escaped.
    private static func objectPath(of unit: String) throws(BusError) -> String {
        var encoded: UnsafeMutablePointer<CChar>?
        let result = sd_bus_path_encode(path + "/unit", unit, &encoded)
        guard result >= 0, let encoded else { throw .malformed(code: -result) }
        defer { free(encoded) }
        return String(cString: encoded)
    }
}
