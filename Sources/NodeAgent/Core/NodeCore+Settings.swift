package import Coordination
internal import Timing

extension NodeCore {
    /// What of the cloud-config may change while the node runs, as far as its decisions depend on it.
    package struct LiveSettings: Hashable, Sendable {
        package var forcedRole: ForcedRole?
        /// `p2p.minimum_nodes`: counts for the founding alone, which a restart of the agent takes it up for.
        package var quorum: Int
        package var highAvailability: Bool
        package var additionalServers: Int
        /// See `Configuration`.
        package var replacesServersAfter: Duration?
        /// See `Configuration`.
        package var freesRolesAfter: Duration?

        package init(
            forcedRole: ForcedRole? = nil, quorum: Int, highAvailability: Bool = false,
            additionalServers: Int = 0, replacesServersAfter: Duration? = nil,
            freesRolesAfter: Duration? = nil
        ) {
            self.forcedRole = forcedRole
            self.quorum = quorum
            self.highAvailability = highAvailability
            self.additionalServers = additionalServers
            self.replacesServersAfter = replacesServersAfter
            self.freesRolesAfter = freesRolesAfter
        }
    }

    mutating func adopt(_ settings: LiveSettings, at now: Instant, _ effects: inout [Effect]) {
        configuration.forcedRole = settings.forcedRole
        configuration.highAvailability = settings.highAvailability
        configuration.additionalServers = settings.additionalServers
        configuration.replacesServersAfter = settings.replacesServersAfter
        configuration.freesRolesAfter = settings.freesRolesAfter
        electionStep(.settings(forcedRole: settings.forcedRole), at: now, &effects)
    }
}
