internal import NIOPosix
internal import Yams

/// The manifest that `kubevip.manifest_url` names. curl(1), which Kairos' images have, fetches it: it knows
/// proxies, redirections and the system's certificates, and runs only until it has the file.
package struct ManifestDownload: Sendable {
    /// Why there is no manifest. A new attempt may have one.
    package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        case noCurl
        case timedOut
        /// In curl's words.
        case refused(String)
        case tooLong
        /// There is something else at the address.
        case noManifest(String)

        package var description: String {
            switch self {
            case .noCurl: "there is no curl in this image"
            case .timedOut: "no answer within 15 s"
            case .refused(let words): words
            case .tooLong: "it is longer than \(longest) bytes"
            case .noManifest(let what): "what is there is no Kubernetes manifest: \(what)"
            }
        }
    }

    typealias Runner = @Sendable (String, [String], Duration) -> BoundedCommand.Outcome

    /// The longest manifest, in bytes. Stock's is below a thousand.
    package static let longest = 60_000
    /// How long one attempt may take (contract/kairos.md §9).
    static let timeout = Duration.seconds(15)
    /// How long until the next attempt: the first pause, and the longest.
    package static let pauses = Duration.seconds(5)...Duration.seconds(300)

    /// What is fetched.
    package let url: String
    var run: Runner = { BoundedCommand.run($0, $1, limit: $2) }

    /// Prepares to fetch `url`; nil when it is no http or https address.
    package init?(url: String) {
        let isWritable = url.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        guard isWritable, url.hasPrefix("http://") || url.hasPrefix("https://") else { return nil }
        self.url = url
    }

    /// Fetches the manifest once.
    package func fetch() async throws(Failure) -> String {
        let arguments = [
            "--silent", "--show-error", "--fail", "--location", "--max-redirs", "5", "--proto", "=http,https",
            "--max-time", "15", "--max-filesize", "\(Self.longest)", "--url", url,
        ]
        let run = run
        let outcome = try? await NIOThreadPool.singleton.runIfActive {
            run("/usr/bin/curl", arguments, Self.timeout + .seconds(5))
        }
        switch outcome {
        case .notStarted?: throw .noCurl
        case .timedOut?, nil: throw .timedOut
        case .ended(status: 28, _)?: throw .timedOut
        case .ended(status: 63, _)?: throw .tooLong
        case .ended(status: 0, let text)?:
            guard text.utf8.count <= Self.longest else { throw .tooLong }
            try Self.check(text)
            return text
        case .ended(_, let output)?:
            throw .refused(output.split(separator: "\n").last.map(String.init) ?? "curl fails")
        }
    }

    /// K3s would take anything from its folder of manifests: it must at least be objects.
    static func check(_ text: String) throws(Failure) {
        do {
            var count = 0
            var documents = try Yams.compose_all(yaml: text)
            while let node = documents.next() {
                guard case .mapping(let map) = node, map["apiVersion"]?.string != nil,
                    map["kind"]?.string != nil
                else { throw Failure.noManifest("a document has no apiVersion or no kind") }
                count += 1
            }
            // The sequence ends at a mistake, and keeps it.
            if documents.error != nil { throw Failure.noManifest("it is not YAML") }
            guard count > 0 else { throw Failure.noManifest("it is empty") }
        } catch let failure as Failure {
            throw failure
        } catch {
            throw .noManifest("it is not YAML")
        }
    }
}
