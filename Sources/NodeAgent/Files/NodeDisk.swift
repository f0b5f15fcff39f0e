package import Coordination
package import K3s
internal import LibP2P
package import Timing

/// The small files that this node must not forget: what it promised in the election, and the join
/// token it made. Each is whole or absent, whatever happens while it is written.
package struct NodeDisk: Sendable {
    private let paths: NodePaths

    package init(paths: NodePaths) {
        self.paths = paths
    }

    /// What a file held.
    package enum Recovered<Content: Sendable>: Sendable {
        case absent
        case present(Content)
        /// The file was no such content; it now lies under the name given, and the node goes on
        /// without it.
        case setAside(as: String)

        /// The content, when there was one.
        package var content: Content? {
            if case .present(let content) = self { return content }
            return nil
        }
    }

    /// Reads the election's state. A damaged file is set aside: its promises are then recovered from
    /// the copies in the ledger.
    ///
    /// Throws `NodeDiskError` when the file cannot be read or moved: going on without its promises
    /// could break them.
    package func loadElection(at now: UnixTime) throws(NodeDiskError) -> Recovered<ElectionState> {
        try load(paths.electionState, at: now) { ElectionCodec.state(from: $0) }
    }

    /// Puts the election's state on disk; when it returns, the state outlives a power cut.
    package func save(_ state: ElectionState) throws(NodeDiskError) {
        try write(ElectionCodec.encode(state), to: paths.electionState)
    }

    /// Reads the join token that this node made as the founder.
    package func loadJoinToken(at now: UnixTime) throws(NodeDiskError) -> Recovered<String> {
        try load(paths.joinToken, at: now) { (text: String) -> String? in
            let token = text.hasSuffix("\n") ? String(text.dropLast()) : text
            return ClusterToken.isSecret(token) ? token : nil
        }
    }

    /// Makes a join token and puts it on disk. A server that has run before keeps the token of its
    /// datastore, for K3s refuses to start with another (contract/k3s.md §6.3).
    package func makeJoinToken() throws(NodeDiskError) -> String {
        let token = datastoreToken ?? ClusterToken.generate().secret
        try write(token + "\n", to: paths.joinToken)
        return token
    }

    /// The token of the server that has run here, in its short form.
    private var datastoreToken: String? { serverToken.flatMap(ClusterToken.password(in:)) }

    /// The token that a running server has written for those who join, CA pinned; nil while there is
    /// none.
    package var serverToken: String? {
        let path = paths.k3sDataDirectory + "/server/token"
        guard let bytes = try? DurableFile.read(path, maximumLength: 4096) else { return nil }
        let text = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        return text.isEmpty ? nil : text
    }

    /// What the disk says of K3s before anybody has looked at it: whose data there are, and whether this node is a
    /// member of etcd. A data folder of the user's own choice is `layout`'s.
    package func k3sCondition(in layout: K3sLayout) -> K3sCondition {
        var record = ClusterRecordState.missing
        switch Result(catching: { try DurableFile.read(layout.clusterRecord, maximumLength: 4096) }) {
        case .success(nil): break
        case .success(let text?):
            record = ClusterRecord(String(decoding: text, as: UTF8.self)).map { .known($0) } ?? .unreadable
        case .failure: record = .unreadable
        }
        let hasEtcd = FileSystem.exists(layout.etcdData)
        return K3sCondition(
            found: record, datastore: hasEtcd ? .etcd : FileSystem.exists(layout.sqliteData) ? .sqlite : nil,
            isTakenOut: FileSystem.exists(layout.etcdTombstone), token: serverToken)
    }

    /// Keeps the token of a cluster that runs, which nobody may make anew.
    package func keep(joinToken token: String) throws(NodeDiskError) {
        try write(token + "\n", to: paths.joinToken)
    }

    private func load<Content: Sendable>(
        _ path: String, at now: UnixTime, _ parse: (String) -> Content?
    ) throws(NodeDiskError) -> Recovered<Content> {
        let bytes: [UInt8]?
        do { bytes = try DurableFile.read(path, maximumLength: ElectionCodec.longestText) } catch {
            throw NodeDiskError(error.description, path: path)
        }
        guard let bytes else { return .absent }
        if let content = parse(String(decoding: bytes, as: UTF8.self)) { return .present(content) }
        let aside = "\(path).damaged-\(now.seconds)"
        do { try DurableFile.move(path, to: aside) } catch {
            throw NodeDiskError(error.description, path: path)
        }
        return .setAside(as: aside)
    }

    private func write(_ text: String, to path: String) throws(NodeDiskError) {
        do { try DurableFile.write(Array(text.utf8), to: path) } catch {
            throw NodeDiskError(error.description, path: path)
        }
    }
}

/// A file of this node's state that cannot be read or written.
package struct NodeDiskError: Error, Hashable, Sendable, CustomStringConvertible {
    package let reason: String
    package let path: String

    package init(_ reason: String, path: String) {
        self.reason = reason
        self.path = path
    }

    package var description: String { reason }
}
