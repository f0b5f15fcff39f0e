package import Coordination

extension NodeCore {
    /// The servers among which the API address is leased, as far as this node knows them.
    package var leaseServers: LeaseServers? {
        guard configuration.runsK3s, let decree = election.decree, decree.isRunning else {
            return nil
        }
        return LeaseServers(
            number: decree.number, epoch: decree.epoch, members: decree.servers.map(\.peer),
            keepsStill: keepsStill)
    }
}
