internal import Testing

@testable import K3s

@Suite("What K3s' data belong to")
struct ClusterRecordTests {
    static let full = ClusterRecord(
        epoch: 7, role: .server, pending: [.server, .agent], formerEpoch: 6, datastore: .etcd,
        etcdAddress: "10.1.0.11")

    @Test("a record comes back as it was written")
    func roundTrip() {
        for record in [
            Self.full, ClusterRecord(epoch: 1, role: .agent), ClusterRecord(epoch: .max, role: .left),
        ] {
            #expect(ClusterRecord(record.rendered()) == record)
        }
        #expect(
            Self.full.rendered()
                == "kairos-k3s-cluster 1\nepoch 7\nrole server\npending 6 server,agent\ndatastore etcd\n"
                + "etcd-address 10.1.0.11\nend\n")
    }

    @Test("a torn or foreign record is none")
    func torn() {
        let text = Self.full.rendered()
        for count in 0..<text.count { #expect(ClusterRecord(String(text.prefix(count))) == nil) }
        for (part, other) in [
            ("epoch 7", "epoch -7"), ("epoch 7", "epoch 7\nepoch 8"), ("role server", "role king"),
            ("pending 6 server,agent", "pending server"), ("datastore etcd", "datastore nats"),
            ("cluster 1", "cluster 2"), ("epoch 7", "epoch 99999999999999999999"),
        ] {
            let parts = text.split(separator: part, omittingEmptySubsequences: false)
            #expect(ClusterRecord(parts.joined(separator: other)) == nil, "\(other)")
        }
    }

    @Test("whose data there are follows from epoch and role, wherever they are kept")
    func data() {
        var record = ClusterRecord(epoch: 2, role: .server)
        #expect(record.holdsData(of: 2, onDisk: .sqlite) && record.holdsData(of: 2, onDisk: .etcd))
        #expect(!record.holdsData(of: 2, onDisk: nil) && !record.holdsData(of: 3, onDisk: .etcd))
        record.datastore = .external
        #expect(record.holdsData(of: 2, onDisk: nil))
        record.role = .left
        #expect(!record.holdsData(of: 2, onDisk: .etcd))
    }
}
