internal import AgentAPI
internal import CloudConfig
internal import Synchronization
internal import Timing

/// What `status` says of the cloud-config that the node runs with; shared by those who change it and those
/// who tell of it.
final class ConfigurationNotes: Sendable {
    struct Content: Sendable {
        /// The files that it was merged from.
        var sources: [String]
        /// Since when the node runs with it.
        var since: UnixTime
        /// What is odd in it, and what of it has no effect.
        var warnings: [String]
        /// Why what is on disk is not what the node runs with, a line each.
        var problems: [String] = []
    }

    private let content: Mutex<Content>

    init(_ candidate: ConfigurationReload.Candidate, at now: UnixTime) {
        content = Mutex(Self.content(of: candidate, at: now))
    }

    var current: Content { content.withLock { $0 } }

    /// The node goes on with `candidate`.
    func adopt(_ candidate: ConfigurationReload.Candidate, isAnother: Bool, at now: UnixTime) {
        content.withLock { content in
            let since = isAnother ? now : content.since
            content = Self.content(of: candidate, at: since)
        }
    }

    /// The node does not go on with what is on disk.
    func keep(_ problems: [String]) {
        content.withLock { $0.problems = problems }
    }

    private static func content(of candidate: ConfigurationReload.Candidate, at since: UnixTime) -> Content {
        Content(
            sources: candidate.configuration.sources, since: since,
            warnings: candidate.configuration.warnings.map(\.description) + (candidate.settings?.unused ?? [])
        )
    }
}

extension ConfigurationNotes.Content {
    /// The same for the status document.
    var document: StatusDocument.Configuration {
        StatusDocument.Configuration(files: sources, since: Timestamp(since), problems: problems)
    }
}
