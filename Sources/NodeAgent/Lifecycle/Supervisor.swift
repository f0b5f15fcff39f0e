internal import CloudConfig
internal import K3s
internal import Logging
internal import ServiceLifecycle
internal import Systemd
internal import Timing
internal import UnixSignals

/// What starts K3s on this machine, and what ends the agent: with a mesh and without.
enum Supervisor {
    /// systemd where it runs the machine, otherwise K3s is the agent's own child.
    static func find(
        paths: NodePaths, time: any TimeSource
    ) throws -> (any ServiceManager, DesiredState.Supervision) {
        guard !paths.isRelocated, SystemManager.isBooted else {
            return (try ChildProcessManager(time: time), .childProcess)
        }
        return (try SystemdManager(), .systemd(agentUnit: "kairos-agent.service"))
    }

    /// Runs `body` until SIGTERM or SIGINT, which give it `stopTimeout` to end; returns why it failed.
    static func run(
        stopTimeout: Duration, logger: Logger, _ body: @escaping @Sendable () async throws -> Void
    ) async -> (any Error)? {
        var configuration = ServiceGroupConfiguration(
            services: [
                .init(
                    service: ClosureService(body: body), successTerminationBehavior: .gracefullyShutdownGroup)
            ],
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        configuration.maximumGracefulShutdownDuration = stopTimeout
        do { try await ServiceGroup(configuration: configuration).run() } catch { return error }
        return nil
    }
}

extension MachineIdentity {
    /// The machine's name and identifier, by its files and the environment.
    static func find(_ paths: NodePaths) throws(AgentFailure) -> MachineIdentity {
        do {
            return try MachineIdentity(root: paths.under("/"), environment: ProcessEnvironment.read(["UUID"]))
        } catch {
            throw AgentFailure(error.description, exitCode: AgentFailure.Code.data)
        }
    }
}

/// One closure as a service.
private struct ClosureService: ServiceLifecycle.Service {
    let body: @Sendable () async throws -> Void

    func run() async throws { try await body() }
}
