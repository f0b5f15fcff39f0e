/// How a value that was found is named in a message: briefly, in one line, and never when it may be secret.
enum FoundValue {
    /// The longest piece of a found text that is shown.
    static let maximumLength = 60

    /// `"three" (a string)`, `a map`, `an empty list`; for a secret only the kind.
    static func description(of node: ConfigurationNode, secret: Bool = false) -> String {
        switch node.content {
        case .null: return "nothing (null)"
        case .list(let items): return items.isEmpty ? "an empty list" : "a list"
        case .map: return "a map"
        case .scalar(let scalar):
            return secret ? scalar.kind.name : "\(quoted(scalar.text)) (\(scalar.kind.name))"
        }
    }

    /// `text` in double quotes, cut and with control characters escaped, so that a message stays one line.
    static func quoted(_ text: String) -> String {
        var shown = "\""
        var length = 0
        for scalar in text.unicodeScalars {
            guard length < maximumLength else {
                shown += "…"
                break
            }
            length += 1
            switch scalar {
            case "\"", "\\": shown += "\\\(scalar)"
            case "\n": shown += "\\n"
            case "\t": shown += "\\t"
            case "\r": shown += "\\r"
            default:
                if scalar.properties.generalCategory == .control
                    || scalar.properties.generalCategory == .format
                {
                    shown += "\\u{\(String(scalar.value, radix: 16))}"
                } else {
                    shown.unicodeScalars.append(scalar)
                }
            }
        }
        return shown + "\""
    }
}

/// Finds the key that an operator most likely meant.
enum NearestName {
    /// The name of `candidates` that is nearest to `name`, when it is near enough to be a slip of the hand.
    static func of(_ name: String, among candidates: some Sequence<String>) -> String? {
        let typed = Array(name.lowercased().utf8.prefix(64))
        let limit = max(2, typed.count / 3)
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let distance = distance(typed, Array(candidate.lowercased().utf8))
            if distance <= limit, distance < (best?.distance ?? .max) { best = (candidate, distance) }
        }
        return best?.name
    }

    /// How many single-byte insertions, deletions, replacements and swaps of neighbours lead from one to
    /// the other.
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1]
            current.reserveCapacity(right.count + 1)
            for column in 0..<right.count {
                let replaced = last[column] + (left[row] == right[column] ? 0 : 1)
                var cost = min(replaced, last[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    cost = min(cost, beforeLast[column - 1] + 1)
                }
                current.append(cost)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
