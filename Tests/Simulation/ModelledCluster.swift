/// A cluster that some server founded: which token admits to it, and who keeps its data.
package struct ModelledCluster: Sendable {
    /// Which machine founded it.
    package let founder: Int
    /// Of which epoch its founder was.
    let epoch: UInt64
    let token: String
    /// Whether its data are in etcd, so that further servers can join.
    package internal(set) var isEtcd: Bool
    /// The members of its etcd by the names of their nodes, and whether they have a vote.
    package internal(set) var members: [String: Bool] = [:]
    /// Every machine that has ever joined it.
    package internal(set) var joined: Set<Int> = []

    /// How many members have a vote.
    var voters: Int { members.values.count { $0 } }

    /// Whether `text` admits to the cluster of this number: the token, and the CA when it is pinned.
    func admits(_ text: String, number: Int) -> Bool {
        guard text.hasPrefix("K10") else { return text == token }
        return text == pinned(number)
    }

    /// The token that a running server writes for those who join.
    func pinned(_ number: Int) -> String {
        let digits = String(number, radix: 16)
        return "K10" + String(repeating: "0", count: 64 - digits.count) + digits + "::server:" + token
    }
}
