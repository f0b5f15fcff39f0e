/// The unit drop-in that Kairos' own provider writes (contract/kairos.md §3.3).
enum StockOverride {
    /// Whether `content` is such a drop-in, exactly; one that a user wrote or edited is not.
    static func isOne(_ content: String) -> Bool {
        let start = "\n[Service]\nExecStart=\nExecStart="
        guard content.hasPrefix(start) else { return false }
        var command = content.dropFirst(start.count)
        if command.hasSuffix("\n") { command = command.dropLast() }
        guard !command.contains("\n") else { return false }
        return ["/usr/bin/k3s ", "/usr/local/bin/k3s "].contains { command.hasPrefix($0) }
    }
}
