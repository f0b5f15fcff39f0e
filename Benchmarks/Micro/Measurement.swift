/// One row of the table: what one operation costs.
struct Measurement {
    let name: String
    /// The payload of one operation.
    let bytes: Int
    let nanoseconds: Double

    /// Runs `operation` again and again for about half a second; when `isQuick`, for a moment.
    static func of(
        _ name: String, bytes: Int, isQuick: Bool, _ operation: () throws -> Void
    ) rethrows -> Measurement {
        let batch = isQuick ? 1 : 50
        for _ in 0..<batch { try operation() }
        let clock = ContinuousClock()
        let start = clock.now
        var count = 0
        repeat {
            for _ in 0..<batch { try operation() }
            count += batch
        } while clock.now - start < (isQuick ? .milliseconds(1) : .milliseconds(500))
        let (seconds, attoseconds) = (clock.now - start).components
        let nanoseconds = Double(seconds) * 1e9 + Double(attoseconds) / 1e9
        return Measurement(name: name, bytes: bytes, nanoseconds: nanoseconds / Double(count))
    }

    var row: String {
        let rate = Double(bytes) / nanoseconds * 1000
        return "| \(name) | \(bytes) | \(Int(nanoseconds)) | \(Int(rate)) |"
    }

    var json: String { "{\"name\":\"\(name)\",\"bytes\":\(bytes),\"nanoseconds\":\(nanoseconds)}" }
}
