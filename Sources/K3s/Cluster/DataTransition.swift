/// Whether K3s' data on this node are those of the epoch and role that it is to have, and if not, how
/// they become so.
///
///     record says     wish says            then
///     (none)          epoch 1              the data, if any, are taken as they are
///     (none)          a later epoch        data of unknown origin are set aside
///     epoch e, role r epoch e, role r      nothing
///     epoch e         an epoch before e    refused: what is told is older than what is known
///     epoch e         an epoch after e     everything of the former cluster is set aside
///     role r          another role         the control plane of the former role is set aside
///
/// The order is: K3s is kept from starting, stopped, the record says what is to be set aside, it is set
/// aside piece by piece, the record says that it is done. A cut anywhere leads back in.
package enum DataTransition: Hashable, Sendable {
    /// The data are the right ones.
    case settled
    /// They are, once the record says so.
    case record(ClusterRecord)
    /// They are not: both services must rest, then this is recorded and what is pending set aside.
    case setAside(ClusterRecord)
    /// They must be left alone.
    case refused(Plan.Obstacle)

    /// Decides for what was observed.
    package init(_ observation: Observation, to desired: DesiredState) {
        let role = desired.role.recorded
        var epoch = desired.epoch
        // Nobody founds anything for K3s as given: its data are of the epoch that they were of.
        if case .asGiven = desired.role, case .known(let known) = observation.record { epoch = known.epoch }
        switch observation.record {
        case .unreadable:
            self = .refused(.recordUnreadable(desired.layout.clusterRecord))
        case .missing:
            var foreign: Set<ClusterRemains> = []
            if epoch > 1 || role == .left {
                foreign = Set(ClusterRemains.allCases)
            } else if role == .agent {
                foreign = [.server, .kubeconfig]
            }
            self.init(ClusterRecord(epoch: epoch, role: role), foreign, observation)
        case .known(let known):
            if known.epoch > epoch {
                self = .refused(.epochIsOver(told: epoch, known: known.epoch))
                return
            }
            if known.epoch == epoch, known.role == role, known.pending.isEmpty {
                self = .settled
                return
            }
            let isSameCluster = known.epoch == epoch
            let foreign: Set<ClusterRemains>
            switch (isSameCluster, role) {
            case (true, known.role): foreign = known.pending
            case (true, .agent), (true, .server): foreign = known.pending.union([.server, .kubeconfig])
            case (true, .left), (false, _): foreign = Set(ClusterRemains.allCases)
            }
            let next = ClusterRecord(
                epoch: epoch, role: role,
                formerEpoch: known.pending.isEmpty ? known.epoch : known.formerEpoch,
                datastore: isSameCluster ? known.datastore : nil,
                etcdAddress: isSameCluster && role == known.role ? known.etcdAddress : nil)
            self.init(next, foreign, observation, mustRest: true)
        }
    }

    private init(
        _ record: ClusterRecord, _ foreign: Set<ClusterRemains>, _ observation: Observation,
        mustRest: Bool = false
    ) {
        var record = record
        record.pending = foreign.intersection(observation.remains)
        if record.pending.isEmpty, !mustRest {
            record.formerEpoch = 0
            self = .record(record)
        } else {
            self = .setAside(record)
        }
    }
}

extension K3sRole {
    /// The role as the record has it.
    package var recorded: ClusterRecord.Role {
        switch self {
        case .foundingServer, .server: .server
        case .agent: .agent
        case .left: .left
        case .asGiven(let command): command == .server ? .server : .agent
        }
    }
}
