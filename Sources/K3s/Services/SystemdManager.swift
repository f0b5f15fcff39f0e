internal import NIOConcurrencyHelpers
internal import NIOPosix
package import Systemd
internal import Timing

/// The services of a machine that runs systemd, through its manager on D-Bus.
package final class SystemdManager: ServiceManager {
    private let manager: SystemManager
    private let units: [String]

    /// Prepares a connection. Changes are told of `units`.
    ///
    /// - Throws: `PollThreadError` when the machine has no descriptor or thread left.
    package init(
        units: [String] = K3sCommand.allCases.map(\.unit),
        addresses: [BusConnection.Address] = SystemManager.addresses
    ) throws(PollThreadError) {
        self.units = units
        self.manager = try SystemManager(addresses: addresses)
    }

    package func start(_ service: Service) async throws(ServiceError) {
        do throws(BusError) { try await manager.start(service.unit) } catch {
            throw Self.error(error, service.unit)
        }
    }

    package func stop(_ service: Service) async throws(ServiceError) {
        do throws(BusError) { try await manager.stop(service.unit) } catch {
            // What is not there does not run.
            let failure = Self.error(error, service.unit)
            if case .unitMissing = failure { return }
            throw failure
        }
    }

    package func restart(_ service: Service) async throws(ServiceError) {
        do throws(BusError) { try await manager.restart(service.unit) } catch {
            throw Self.error(error, service.unit)
        }
    }

    package func enable(_ service: Service) async throws(ServiceError) {
        do throws(BusError) { try await manager.enable(service.unit) } catch {
            throw Self.error(error, service.unit)
        }
    }

    package func disable(_ service: Service) async throws(ServiceError) {
        do throws(BusError) { try await manager.disable(service.unit) } catch {
            let failure = Self.error(error, service.unit)
            if case .unitMissing = failure { return }
            throw failure
        }
    }

    package func reloadDefinitions() async throws(ServiceError) {
        do throws(BusError) { try await manager.reload() } catch { throw Self.error(error, "") }
    }

    package func status(of unit: String) async throws(ServiceError) -> ServiceStatus {
        do throws(BusError) {
            return Self.status(try await manager.state(of: unit))
        } catch {
            throw Self.error(error, unit)
        }
    }

    package func lastLines(of unit: String, count: Int) async -> [String] {
        let lines = try? await NIOThreadPool.singleton.runIfActive {
            JournalReader.lastLines(of: unit, count: count)
        }
        return lines ?? []
    }

    package func changes() async -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        // A name that D-Bus cannot carry has no unit and no changes.
        try? manager.observe(units) { continuation.yield() }
        return stream
    }

    /// Closes the connection. Units of systemd go on.
    package func shutDown() async {
        manager.close()
    }

    /// systemd's words in ours.
    static func status(_ state: UnitState) -> ServiceStatus {
        let definition: ServiceStatus.Definition =
            switch state.load {
            case "loaded": .present
            case "not-found": .missing
            case "masked": .masked
            default: .broken(state.load)
            }
        let activity: ServiceStatus.Activity =
            switch state.active {
            case "active", "reloading", "refreshing": .active
            case "activating", "maintenance": .activating
            case "deactivating": .deactivating
            case "failed": .failed
            default: .inactive
            }
        let enabled: Bool? =
            switch state.file {
            case "enabled", "enabled-runtime": true
            case "disabled", "": false
            // static, generated, alias, indirect: nothing to switch.
            default: nil
            }
        return ServiceStatus(
            definition: definition, activity: activity, detail: state.sub,
            failure: state.result.isEmpty || state.result == "success" ? nil : state.result,
            isEnabled: enabled,
            restarts: state.restarts, delaysRestarts: state.restartSteps > 0, since: state.since,
            needsReload: state.needsReload,
            isQueued: state.hasJob && (activity == .inactive || activity == .failed),
            conditionFailed: state.conditionFailed)
    }

    private static func error(_ error: BusError, _ unit: String) -> ServiceError {
        switch error {
        case .unavailable(let reason): .unavailable(reason)
        case .disconnected: .unavailable("the connection broke")
        case .timedOut: .timedOut
        case .malformed(let code): .refused("the D-Bus message could not be made or read (errno \(code))")
        case .refused("org.freedesktop.systemd1.NoSuchUnit", _),
            .refused("org.freedesktop.DBus.Error.FileNotFound", _):
            .unitMissing(unit)
        case .refused(let name, let message): .refused(message.isEmpty ? name : message)
        }
    }
}
