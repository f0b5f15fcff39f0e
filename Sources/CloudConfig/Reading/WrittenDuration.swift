/// How durations are written in a cloud-config: `90s`, `30m`, `24h`, `7d`, a whole number and one unit.
enum WrittenDuration {
    static let example = "a duration such as 30m, 24h or 7d"

    /// The duration that `text` spells; nil when it spells none.
    static func parse(_ text: String) -> Duration? {
        let factors: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = text.last, let factor = factors[unit], text.utf8.count <= 10,
            text.utf8.dropLast().allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let count = Int64(text.dropLast())
        else { return nil }
        return .seconds(count * factor)
    }
}
