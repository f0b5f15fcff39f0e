internal import Yams

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// What K3s' own kubeconfig, `/etc/rancher/k3s/k3s.yaml`, has for its administrator: where the server
/// listens, its CA, and a client certificate. Held for the length of one probe.
struct AdminCredentials: Sendable {
    let host: String
    let port: UInt16
    let authority: [UInt8]
    let certificate: [UInt8]
    let key: [UInt8]

    /// A kubeconfig of K3s has some 3 KB.
    static let longestText = 64 * 1024

    private struct Document: Decodable {
        struct Cluster: Decodable {
            struct Content: Decodable {
                let server: String
                let authority: String
                enum CodingKeys: String, CodingKey {
                    case server
                    case authority = "certificate-authority-data"
                }
            }
            let cluster: Content
        }
        struct User: Decodable {
            struct Content: Decodable {
                let certificate: String
                let key: String
                enum CodingKeys: String, CodingKey {
                    case certificate = "client-certificate-data"
                    case key = "client-key-data"
                }
            }
            let user: Content
        }
        let clusters: [Cluster]
        let users: [User]
    }

    /// Reads the text of a kubeconfig; nil when it has not all of it.
    init?(kubeconfig text: String) {
        guard text.utf8.count <= Self.longestText,
            let document = try? YAMLDecoder().decode(Document.self, from: text),
            let cluster = document.clusters.first?.cluster, let user = document.users.first?.user,
            cluster.server.hasPrefix("https://"), let colon = cluster.server.lastIndex(of: ":"),
            let port = UInt16(cluster.server[cluster.server.index(after: colon)...]),
            let authority = Data(base64Encoded: cluster.authority),
            let certificate = Data(base64Encoded: user.certificate), let key = Data(base64Encoded: user.key)
        else { return nil }
        var host = cluster.server[..<colon].dropFirst("https://".count)
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self.host = String(host)
        self.port = port
        self.authority = Array(authority)
        self.certificate = Array(certificate)
        self.key = Array(key)
    }
}
