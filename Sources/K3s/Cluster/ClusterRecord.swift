/// What K3s' data on this node belong to: the one thing that tells data of a former cluster, or of a
/// former role, from data to go on with. It is on disk before anything that it speaks of happens, so
/// a power cut between any two steps leaves a record that says how to go on.
package struct ClusterRecord: Hashable, Sendable {
    /// What the data are for.
    package enum Role: String, Hashable, Sendable {
        case server
        case agent
        /// The node left the cluster, or was forgotten by it.
        case left
    }

    /// Where a server keeps the cluster (contract/k3s.md §2).
    package enum Datastore: String, Hashable, Sendable {
        case sqlite
        case etcd
        case external
    }

    /// The founding that the data belong to.
    package var epoch: UInt64
    /// What they are for.
    package var role: Role
    /// Data of a former life that may still be in place and must be set aside before K3s starts.
    package var pending: Set<ClusterRemains>
    /// The epoch of that former life.
    package var formerEpoch: UInt64
    /// The datastore this node was once seen to have in this epoch. It outlives the data, so that a
    /// founder that lost them does not found again.
    package var datastore: Datastore?
    /// The address under which etcd knows this server (contract/k3s.md §11.3).
    package var etcdAddress: String?

    package init(
        epoch: UInt64, role: Role, pending: Set<ClusterRemains> = [], formerEpoch: UInt64 = 0,
        datastore: Datastore? = nil, etcdAddress: String? = nil
    ) {
        self.epoch = epoch
        self.role = role
        self.pending = pending
        self.formerEpoch = formerEpoch
        self.datastore = datastore
        self.etcdAddress = etcdAddress
    }

    /// Whether what is on the disk are the data of a server of `epoch`. Those of an external datastore are elsewhere.
    package func holdsData(of epoch: UInt64, onDisk datastore: Datastore?) -> Bool {
        self.epoch == epoch && role == .server && (datastore != nil || self.datastore == .external)
    }

    private static let head = "kairos-k3s-cluster 1"

    /// The record as text, one field a line.
    package func rendered() -> String {
        var text = Self.head + "\nepoch \(epoch)\nrole \(role.rawValue)\n"
        if !pending.isEmpty {
            let names = ClusterRemains.allCases.filter(pending.contains).map(\.rawValue)
            text += "pending \(formerEpoch) " + names.joined(separator: ",") + "\n"
        }
        if let datastore { text += "datastore \(datastore.rawValue)\n" }
        if let etcdAddress { text += "etcd-address \(etcdAddress)\n" }
        return text + "end\n"
    }

    /// Reads `text`; nil unless it is a whole record, so that a torn one is never half-believed.
    package init?(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        guard lines.popFirst() == Self.head[...], lines.popLast() == "", lines.popLast() == "end" else {
            return nil
        }
        var fields: [Substring: Substring] = [:]
        for line in lines {
            guard let space = line.firstIndex(of: " "), fields[line[..<space]] == nil else { return nil }
            fields[line[..<space]] = line[line.index(after: space)...]
        }
        guard let epoch = fields["epoch"].flatMap({ UInt64($0) }),
            let role = fields["role"].flatMap({ Role(rawValue: String($0)) })
        else { return nil }
        self.init(epoch: epoch, role: role)
        if let datastore = fields["datastore"] {
            guard let kind = Datastore(rawValue: String(datastore)) else { return nil }
            self.datastore = kind
        }
        etcdAddress = fields["etcd-address"].map(String.init)
        if let pending = fields["pending"] {
            let parts = pending.split(separator: " ")
            guard parts.count == 2, let former = UInt64(parts[0]) else { return nil }
            formerEpoch = former
            for name in parts[1].split(separator: ",") {
                guard let remains = ClusterRemains(rawValue: String(name)) else { return nil }
                self.pending.insert(remains)
            }
        }
    }
}

/// What there is of a `ClusterRecord` on disk.
package enum ClusterRecordState: Hashable, Sendable {
    /// This node has not run K3s for this agent yet, or before there were records.
    case missing
    case known(ClusterRecord)
    /// There is a file that says nothing.
    case unreadable
}
