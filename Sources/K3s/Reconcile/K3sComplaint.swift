/// What K3s says in its log when it cannot go on, and what an operator does about it
/// (contract/k3s.md §5, §6, §9, §11.3, §14).
enum K3sComplaint: CaseIterable {
    case anotherToken
    case anotherCA
    case differingSettings
    case nodePassword
    case duplicateName
    case unknownFlag
    case notAMember
    case portTaken
    case diskFull

    /// The complaint that the newest of these lines has.
    init?(lines: [String]) {
        for line in lines.reversed() {
            let line = line.lowercased()
            if let complaint = Self.allCases.first(where: { $0.signs.contains(where: line.contains) }) {
                self = complaint
                return
            }
        }
        return nil
    }

    /// Parts of K3s' lines that tell the complaint, in lower case. Versions differ in the words around them.
    private var signs: [String] {
        switch self {
        case .anotherToken: ["bootstrap data already found and encrypted with different token"]
        case .anotherCA:
            ["token ca hash does not match"]
        case .differingSettings: ["critical configuration"]
        case .nodePassword: ["node password rejected"]
        case .duplicateName: ["duplicate node name found"]
        case .unknownFlag: ["flag provided but not defined", "unknown flag"]
        case .notAMember: ["not a member of the etcd cluster"]
        case .portTaken: ["address already in use"]
        case .diskFull: ["no space left on device"]
        }
    }

    /// What the operator can do.
    var remedy: String {
        switch self {
        case .anotherToken:
            "the datastore holds a cluster that was founded with another token: set p2p.auto.ha.external_db to an"
                + " empty database, or empty this one if that cluster is to be given up"
        case .anotherCA:
            "the server that answers belongs to another cluster than this node's data or token: see who holds the"
                + " API address in `kairos-agent p2p status`"
        case .differingSettings:
            "set on all servers alike what the log names as mismatched (k3s.args, config.yaml)"
        case .nodePassword:
            "another node has registered under this name: give each node a name of its own, or, when it is this"
                + " node that was installed anew, `kairos-agent p2p forget` its former self"
        case .duplicateName:
            "etcd has a server of this name: `kairos-agent p2p forget` the former one, or name this node otherwise"
        case .unknownFlag: "this K3s does not know one of the flags in k3s.args or config.yaml: remove it"
        case .notAMember:
            "etcd knows this server by another address: give it that node-ip back, or forget it and have it join anew"
        case .portTaken: "another program, or another K3s, has the port: end it"
        case .diskFull: "make room on the disk of K3s' data"
        }
    }
}
