internal import AgentAPI
internal import CloudConfig
internal import Coordination
internal import GossipSub
internal import K3s
internal import LibP2P
internal import Logging
internal import MeshNetwork
internal import MulticastDNS
internal import Multiformats
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle
internal import Systemd
internal import Timing
internal import VPN

/// The agent as one process: reads the cloud-config, composes the parts in the order in which they
/// need each other, and runs until it is told to stop.
package enum Agent {
    /// How long stopping may take before the process ends anyway (the unit's TimeoutStopSec is longer).
    private static let stopTimeout = Duration.milliseconds(4500)

    /// Runs the agent in the foreground until SIGTERM or SIGINT.
    ///
    /// Throws `AgentFailure`, with its exit code, when it cannot start or must end.
    package static func run(_ options: AgentOptions) async throws(AgentFailure) {
        let paths = NodePaths(root: options.root)
        let configuration: NodeConfiguration
        do {
            configuration = try NodeConfiguration.load(
                root: options.root, directories: options.configDirectories)
        } catch {
            throw AgentFailure(error.description, exitCode: error.exitCode)
        }
        let logger = logger(for: configuration)
        for warning in configuration.warnings { logger.warning("\(warning)") }
        if configuration.p2p?.networkToken == nil, let command = configuration.givenCommand {
            return try await Standalone.run(
                command, options: options, paths: paths, configuration: configuration,
                stopTimeout: stopTimeout, logger: logger)
        }
        let candidate = try ConfigurationWatcher.candidate(configuration)
        guard let settings = candidate.settings else { return }
        for warning in settings.unused { logger.warning("\(warning)") }
        let lock: InstanceLock
        do { lock = try InstanceLock(path: paths.lock) } catch {
            throw AgentFailure(error.description, exitCode: AgentFailure.Code.unavailable)
        }
        let composition = try await Composition.make(
            options: options, paths: paths, configuration: configuration, settings: settings, logger: logger)
        do {
            try await composition.run(stopTimeout: stopTimeout)
        } catch let failure as AgentFailure {
            throw failure
        } catch let problem as UnixSocket.Problem {
            throw AgentFailure(problem.description, exitCode: problem.exitCode)
        } catch {
            throw AgentFailure("\(error)", exitCode: AgentFailure.Code.software)
        }
        _ = consume lock
    }

    private static func logger(for configuration: NodeConfiguration) -> Logger {
        let destination = LogDestination.current
        // The cloud-config's default is for the Go provider's log; ours is quiet unless asked.
        let asked = configuration.positions["p2p.loglevel"] == nil ? nil : configuration.p2p?.logLevel
        let level =
            (configuration.p2p?.vpn.logLevel ?? asked).flatMap { Logger.Level(rawValue: $0.rawValue) }
            ?? .info
        LoggingSystem.bootstrap { label in
            var handler = destination.handler(label: label)
            handler.logLevel = level
            return handler
        }
        return Logger(label: "kairos-agent")
    }
}
