internal import Coordination

extension NodeCore {
    /// The servers among which the API address is leased, as far as this node knows them.
    var leaseServers: LeaseServers? {
        guard configuration.runsK3s, let certificate = election.certificate else { return nil }
        return LeaseServers(number: 1, epoch: certificate.scope.epoch, members: [certificate.value.founder])
    }
}
