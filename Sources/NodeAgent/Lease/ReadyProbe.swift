internal import Glibc
internal import K3s
internal import Synchronization
internal import Timing

/// Asks this node's own API server for `/readyz`, as K3s' administrator.
///
/// `/readyz` is the only answer that tells of the API server and its datastore: `/ping` and
/// `/v1-k3s/readyz` tell of the supervisor (contract/k3s.md §9), and anonymous requests get 401. So the
/// client certificate of K3s' kubeconfig is shown. The connection stays for the next question, a minute at most: a
/// handshake costs ten times the question, and now and then it shows that the server takes newcomers.
final class ReadyProbe: Sendable {
    /// The most that an answer may take, connecting included, in milliseconds.
    static let timeout: Int64 = 1000
    private static let longestUse = Duration.seconds(60)

    private struct Kept {
        let connection: ReadyConnection
        /// The kubeconfig that it was made with.
        let file: FileSystem.Stamp
        let since: Instant
    }

    private let layout: K3sLayout
    private let time: any TimeSource
    private let kept = Mutex<Kept?>(nil)

    init(layout: K3sLayout, time: any TimeSource = SystemTime()) {
        self.layout = layout
        self.time = time
    }

    /// Nil when the API server is ready, else what is wrong. Blocks for little more than `timeout`.
    func ask() -> String? {
        let deadline = Deadline(in: Self.timeout, by: time)
        return kept.withLock { kept in
            do throws(ReadyConnection.Failure) {
                if let old = kept, old.file == FileSystem.stamp(of: layout.kubeconfig),
                    time.now() - old.since < Self.longestUse
                {
                    do throws(ReadyConnection.Failure) {
                        return try question(&kept, old, deadline)
                    } catch  where error.isStale {
                        // The server may close what is at rest, and one that was started anew has.
                    }
                }
                kept = nil
                return try question(&kept, connected(deadline), deadline)
            } catch {
                kept = nil
                return error.what
            }
        }
    }

    private func question(
        _ kept: inout Kept?, _ use: Kept, _ deadline: Deadline
    ) throws(ReadyConnection.Failure) -> String? {
        let status = try use.connection.get("/readyz", until: deadline)
        kept = use.connection.isKept ? use : nil
        return status == "200" ? nil : "/readyz answers \(status)"
    }

    private func connected(_ deadline: Deadline) throws(ReadyConnection.Failure) -> Kept {
        let path = layout.kubeconfig
        // Before the file is read: what is written meanwhile is another one.
        let stamp = FileSystem.stamp(of: path)
        let credentials: AdminCredentials?
        do throws(Kubeconfig.Failure) {
            credentials = AdminCredentials(try Kubeconfig(reading: path))
        } catch {
            switch error {
            case .missing: throw .init(what: "there is no \(path) yet")
            case .noServer: credentials = nil
            case .unreadable: throw .init(what: error.description)
            }
        }
        guard let credentials, let stamp else { throw .init(what: "\(path) holds no client certificate") }
        return Kept(
            connection: try ReadyConnection(credentials, until: deadline), file: stamp, since: time.now())
    }
}

/// Until when something may take.
struct Deadline: Sendable {
    /// The whole of it, in milliseconds.
    let limit: Int64
    private let end: Instant
    private let time: any TimeSource

    init(in limit: Int64, by time: any TimeSource) {
        self.limit = limit
        self.time = time
        end = time.now() + .milliseconds(limit)
    }

    /// What is left, rounded up; not above 0 when it is over.
    var milliseconds: Int64 {
        let left = (end - time.now()).components
        return left.seconds * 1000 + (left.attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}
