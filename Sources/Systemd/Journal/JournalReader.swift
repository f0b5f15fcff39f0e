internal import CSystemd

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Reads the journal's last lines of a unit. It blocks on disk: call it from a thread that may.
package enum JournalReader {
    /// Bytes of one line that are kept at most.
    private static let longestLine = 1024

    /// The last `count` lines of `unit`, oldest first: what it wrote, and what systemd wrote about it.
    /// None when there is no journal or when it cannot be read.
    package static func lastLines(of unit: String, count: Int) -> [String] {
        var opened: OpaquePointer?
        guard count > 0, sd_journal_open(&opened, Int32(SD_JOURNAL_LOCAL_ONLY)) >= 0, let journal = opened
        else { return [] }
        defer { sd_journal_close(journal) }
        // Of a field longer than this only the beginning is read and decompressed.
        sd_journal_set_data_threshold(journal, longestLine + 64)
        let matched =
            match(journal, "_SYSTEMD_UNIT=" + unit) && sd_journal_add_disjunction(journal) >= 0
            && match(journal, "UNIT=" + unit) && match(journal, "_PID=1")
        guard matched, sd_journal_seek_tail(journal) >= 0 else { return [] }
        var lines: [String] = []
        while lines.count < count, sd_journal_previous(journal) > 0 {
            if let line = message(journal) { lines.append(line) }
        }
        return lines.reversed()
    }

    private static func match(_ journal: OpaquePointer, _ field: String) -> Bool {
        field.withCString { sd_journal_add_match(journal, $0, 0) >= 0 }
    }

    private static func message(_ journal: OpaquePointer) -> String? {
        var data: UnsafeRawPointer?
        var length = 0
        guard sd_journal_get_data(journal, "MESSAGE", &data, &length) >= 0, let data else { return nil }
        let bytes = UnsafeRawBufferPointer(start: data, count: length).dropFirst("MESSAGE=".utf8.count)
        return String(decoding: bytes.prefix(longestLine), as: UTF8.self)
    }
}
