package import Coordination

extension NodeCore {
    /// The servers among which the API address is leased, as far as this node knows them; nil while it keeps still, as
    /// a server that neither asks nor grants.
    package var leaseServers: LeaseServers? {
        guard configuration.runsK3s, !keepsStill, let decree = election.decree, decree.isRunning else {
            return nil
        }
        return LeaseServers(number: decree.number, epoch: decree.epoch, members: decree.servers.map(\.peer))
    }
}
