package import K3s

/// What says that this node has had a key, should the key be gone: a node without one that has any of it is not
/// new.
package struct NodeTraces: Sendable {
    private let paths: NodePaths
    private let leaseDirectory: String
    private let layout: K3sLayout

    /// - Parameters:
    ///   - leaseDirectory: where the leases of addresses are, under the root.
    ///   - layout: where K3s' data are.
    package init(paths: NodePaths, leaseDirectory: String, layout: K3sLayout) {
        self.paths = paths
        self.leaseDirectory = leaseDirectory
        self.layout = layout
    }

    /// The files that a node with a key has left, empty folders being none. `keyFileExists` says that there is a
    /// key's file, without a key.
    ///
    /// Without that file some say nothing. Stock Kairos keeps leases in the same folder, and a machine may have run
    /// K3s by its cloud-config alone, or under stock Kairos, before it had a key.
    package func found(keyFileExists: Bool) -> [String] {
        let ofKey = [paths.identity, paths.identity + ".new"]
        var found = FileSystem.names(in: paths.stateDirectory).map { paths.stateDirectory + "/" + $0 }
            .filter { !ofKey.contains($0) && (keyFileExists || !isOfAnyRun($0)) && !isEmptyFolder($0) }
        if keyFileExists {
            found += FileSystem.names(in: leaseDirectory).map { leaseDirectory + "/" + $0 }
        }
        // Only a role that was elected puts a token there.
        if FileSystem.exists(layout.dataFolder + "/server")
            || FileSystem.exists(layout.dataFolder + "/agent"),
            let written = FileSystem.content(of: layout.dropIn), WrittenConfig(written).string("token") != nil
        {
            found += [layout.dropIn, layout.dataFolder]
        }
        return found
    }

    /// Whether the file is also written where K3s runs without a mesh.
    private func isOfAnyRun(_ path: String) -> Bool {
        [layout.clusterRecord, layout.appliedRecord, HookLayout(layout).record]
            .contains { path == $0 || path == $0 + ".new" }
    }

    private func isEmptyFolder(_ path: String) -> Bool {
        FileSystem.exists(path + "/.") && FileSystem.names(in: path).isEmpty
    }
}
