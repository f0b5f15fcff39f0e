internal import Multiformats

/// K3s' kubeconfig as stock tools read it from the ledger (contract/kairos.md §4.1, `master-kubeconfig`).
package enum PublishedKubeconfig {
    /// The largest file that is published, in bytes. K3s writes some 3 KB; every node keeps the entry in memory
    /// and on disk.
    package static let largest = 16 * 1024

    /// The file at `path` in base64url without padding; nil when there is none, or a larger one.
    ///
    /// - Parameter serverName: what always leads to a server. Without one K3s' own `127.0.0.1` stays, which stock
    ///   tools replace by `ip-master`.
    package static func text(reading path: String, serverName: String?) -> String? {
        guard let kubeconfig = try? Kubeconfig(reading: path) else { return nil }
        let server = serverName.map { kubeconfig.server(at: $0) } ?? kubeconfig.server
        var encoded: String?
        kubeconfig.withText { before, after in
            guard before.count + after.count + server.utf8.count <= largest else { return }
            encoded = Multibase.base64url.encodeWithoutPrefix(
                Array(before) + Array(server.utf8) + Array(after))
        }
        return encoded
    }
}
