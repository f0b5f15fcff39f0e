/// One row of the table: what one operation costs.
struct Measurement {
    let name: String
    /// The payload of one operation.
    let bytes: Int
    let nanoseconds: Double

    /// Runs `operation` again and again for about half a second.
    static func of(_ name: String, bytes: Int, _ operation: () throws -> Void) rethrows -> Measurement {
        for _ in 0..<50 { try operation() }
        let clock = ContinuousClock()
        let start = clock.now
        var count = 0
        while clock.now - start < .milliseconds(500) {
            for _ in 0..<50 { try operation() }
            count += 50
        }
        let (seconds, attoseconds) = (clock.now - start).components
        let nanoseconds = Double(seconds) * 1e9 + Double(attoseconds) / 1e9
        return Measurement(name: name, bytes: bytes, nanoseconds: nanoseconds / Double(count))
    }

    var row: String {
        let rate = Double(bytes) / nanoseconds * 1000
        return "\(name)\t\(bytes)\t\(Int(nanoseconds)) ns\t\(Int(rate)) MB/s"
    }

    var json: String { "{\"name\":\"\(name)\",\"bytes\":\(bytes),\"nanoseconds\":\(nanoseconds)}" }
}
