/// The last lines of a process' output, in bounded memory.
package struct OutputTail: Sendable {
    /// Bytes of one line that are kept at most.
    package static let longestLine = 1024
    /// Lines that are kept at most.
    package static let capacity = 200

    private var complete: [String] = []
    private var partial: [UInt8] = []
    private var isCut = false

    package init() {}

    /// Takes what the process wrote next.
    package mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                endLine()
            } else if partial.count < Self.longestLine {
                partial.append(byte)
            } else {
                isCut = true
            }
        }
    }

    /// Ends a line that the process did not end.
    package mutating func endLine() {
        if partial.isEmpty { return }
        if partial.last == UInt8(ascii: "\r") { partial.removeLast() }
        complete.append(String(decoding: partial, as: UTF8.self) + (isCut ? "…" : ""))
        // Amortised: the array is cut back only when it is twice as long as needed.
        if complete.count >= 2 * Self.capacity { complete.removeFirst(complete.count - Self.capacity) }
        partial.removeAll(keepingCapacity: true)
        isCut = false
    }

    /// The last `count` lines, oldest first.
    package func last(_ count: Int) -> [String] {
        Array(complete.suffix(max(0, min(count, Self.capacity))))
    }
}
