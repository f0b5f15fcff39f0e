internal import NIOPosix

/// Why a Kubernetes node was not removed.
package enum NodeRemovalError: Error, Hashable, Sendable {
    /// Not a name that a node can have.
    case nameInvalid(String)
    /// A server that removes itself joins again at its next start (contract/k3s.md §11.2).
    case ownNode(String)
    /// This node runs no server that is up.
    case notServer
    /// There is no K3s.
    case binaryMissing
    /// The cluster did not answer in time.
    case timedOut
    /// The cluster answered with an error.
    case refused(String)

    /// What happened, for the operator.
    package var cause: String {
        switch self {
        case .nameInvalid(let name): "\(name) is not the name of a node"
        case .ownNode(let name): "\(name) is this server itself"
        case .notServer: "no K3s server runs on this node"
        case .binaryMissing: "there is no K3s on this node"
        case .timedOut: "the cluster did not answer in time"
        case .refused(let message): message
        }
    }

    /// What the operator can do about it.
    package var remedy: String {
        switch self {
        case .nameInvalid: "give the name that kubectl get nodes shows"
        case .ownNode, .notServer, .binaryMissing: "have it done by another server"
        case .timedOut, .refused: "see k3s kubectl get nodes; the removal can be repeated"
        }
    }
}

/// What a server's administrator can ask of the cluster, through `k3s kubectl` (contract/k3s.md §11).
struct NodeAdministration: Sendable {
    /// Runs a program; for tests, that of a test.
    typealias Runner =
        @Sendable (_ program: String, _ arguments: [String], _ limit: Duration) ->
        BoundedCommand.Outcome

    let layout: K3sLayout
    var run: Runner = { BoundedCommand.run($0, $1, limit: $2) }
    /// Waits between attempts.
    var delays: [Duration] = [.seconds(1), .seconds(2), .seconds(4), .seconds(8)]

    /// How long one question may take.
    static let patience = Duration.seconds(15)
    /// The same for a removal, which ends when the node's membership in etcd has ended.
    static let removalPatience = Duration.seconds(40)

    /// Whether the server called `name` is a full member of its etcd; nil when nobody can say.
    func isVoter(_ name: String) async -> Bool? {
        guard Self.isNodeName(name) else { return nil }
        let path = #"{.status.conditions[?(@.type=="EtcdIsVoter")].status}"#
        let outcome = await kubectl(["get", "node", name, "-o", "jsonpath=" + path], Self.patience)
        guard case .ended(0, let output)? = outcome else { return nil }
        switch output.split(whereSeparator: \.isWhitespace) {
        case ["True"]: return true
        case ["False"]: return false
        default: return nil
        }
    }

    /// Removes the node called `name`, and waits until it is gone.
    func remove(_ name: String) async throws(NodeRemovalError) {
        guard Self.isNodeName(name) else { throw .nameInvalid(name) }
        let arguments = ["delete", "node", name, "--ignore-not-found=true", "--wait=true", "--timeout=30s"]
        var failure = NodeRemovalError.timedOut
        for delay in [.zero] + delays {
            do { try await Task.sleep(for: delay) } catch { throw failure }
            switch await kubectl(arguments, Self.removalPatience) {
            case nil: throw .binaryMissing
            case .ended(0, _): return
            case .ended(_, let output):
                let last = output.split(separator: "\n").last.map(String.init)
                failure = .refused(String((last ?? "kubectl failed").prefix(300)))
            case .timedOut: failure = .timedOut
            case .notStarted(let code): failure = .refused("k3s cannot be executed (errno \(code))")
            }
        }
        throw failure
    }

    private func kubectl(_ arguments: [String], _ limit: Duration) async -> BoundedCommand.Outcome? {
        guard let binary = layout.binaries.first(where: FileSystem.isProgram) else { return nil }
        let words = ["kubectl", "--kubeconfig", layout.kubeconfig] + arguments
        let outcome = try? await NIOThreadPool.singleton.runIfActive { [run] in run(binary, words, limit) }
        return outcome ?? .timedOut
    }

    /// A DNS subdomain: nothing that could be taken for an option or for another kind of object.
    static func isNodeName(_ name: String) -> Bool {
        guard (1...253).contains(name.utf8.count) else { return false }
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        return isPlain && !name.hasPrefix("-") && !name.hasPrefix(".") && !name.hasSuffix("-")
            && !name.hasSuffix(".")
    }
}
