/// The last known status on disk, beside the socket, for when nobody answers on it any more.
package struct StatusRecord: Sendable {
    /// How often it is written while the agent runs.
    static let interval = Duration.seconds(30)
    /// The largest record that is read, in bytes.
    static let maximumSize = 16 << 20

    private let path: String

    /// The record that belongs to `socket`: `edgevpn-kairos.sock` has `edgevpn-kairos.status.json`.
    package init(besideSocket socket: UnixSocket) {
        let stem = socket.path.hasSuffix(".sock") ? String(socket.path.dropLast(5)) : socket.path
        path = stem + ".status.json"
    }

    /// Writes the status now, every half minute, and once more when the task is cancelled.
    func keep(_ source: any StatusSource) async {
        while !Task.isCancelled {
            write(await source.status())
            // Ends early, by an error, when the task is cancelled.
            try? await Task.sleep(for: Self.interval)
        }
        write(await source.status())
    }

    /// Puts `document` in the place of the record. A record is a convenience: when it cannot be written, the
    /// agent goes on without.
    func write(_ document: StatusDocument) {
        guard let text = try? StatusText.json(document, pretty: false) else { return }
        _ = SystemCall.replace(path, with: Array(text.utf8))
    }

    /// The record, or nil when there is none that can be read.
    package func read() -> StatusDocument? {
        SystemCall.content(of: path, limit: Self.maximumSize).flatMap {
            try? StatusText.document(fromJSON: $0)
        }
    }
}
