extension EnvironmentFile {
    /// The variables in `text`, by systemd's rules: what its `EnvironmentFile=` would pass on.
    ///
    /// Lines that are no assignments are passed over, as systemd does; later assignments win.
    package static func parse(_ text: String) -> [String: String] {
        var parser = Parser()
        for scalar in text.unicodeScalars { parser.take(scalar) }
        parser.finish()
        return parser.variables
    }

    /// The states of systemd's reader of environment files.
    private struct Parser {
        private enum State {
            case beforeName
            case name
            case beforeValue
            case value
            case valueEscape
            case singleQuoted
            case doubleQuoted
            case doubleQuotedEscape
            case comment
            case commentEscape
        }

        var variables: [String: String] = [:]
        private var state = State.beforeName
        private var name: [Unicode.Scalar] = []
        private var value: [Unicode.Scalar] = []
        /// Length of `value` without trailing unquoted white space.
        private var kept = 0

        mutating func take(_ scalar: Unicode.Scalar) {
            switch state {
            case .beforeName:
                if scalar == "#" || scalar == ";" {
                    state = .comment
                } else if !Self.isSpace(scalar) {
                    state = .name
                    name.append(scalar)
                }
            case .name:
                if Self.isNewline(scalar) {
                    reset()
                } else if scalar == "=" {
                    state = .beforeValue
                } else {
                    name.append(scalar)
                }
            case .beforeValue, .value: takeUnquoted(scalar)
            case .valueEscape:
                state = .value
                if !Self.isNewline(scalar) { keep(scalar) }
            case .singleQuoted:
                if scalar == "'" { state = .beforeValue } else { keep(scalar) }
            case .doubleQuoted:
                if scalar == "\"" {
                    state = .beforeValue
                } else if scalar == "\\" {
                    state = .doubleQuotedEscape
                } else {
                    keep(scalar)
                }
            case .doubleQuotedEscape:
                state = .doubleQuoted
                if "\"\\`$".unicodeScalars.contains(scalar) {
                    keep(scalar)
                } else if scalar != "\n" {
                    keep("\\")
                    keep(scalar)
                }
            case .comment:
                if scalar == "\\" {
                    state = .commentEscape
                } else if Self.isNewline(scalar) {
                    state = .beforeName
                }
            case .commentEscape:
                state = .comment
            }
        }

        /// Outside quotes: at the value's start, after a closing quote, or within.
        private mutating func takeUnquoted(_ scalar: Unicode.Scalar) {
            if Self.isNewline(scalar) {
                push()
            } else if state == .beforeValue, scalar == "'" {
                state = .singleQuoted
            } else if state == .beforeValue, scalar == "\"" {
                state = .doubleQuoted
            } else if scalar == "\\" {
                state = .valueEscape
            } else if Self.isSpace(scalar) {
                if state == .value { value.append(scalar) }
            } else {
                state = .value
                keep(scalar)
            }
        }

        mutating func finish() {
            switch state {
            case .beforeValue, .value, .valueEscape, .singleQuoted, .doubleQuoted, .doubleQuotedEscape: push()
            default: reset()
            }
        }

        private mutating func keep(_ scalar: Unicode.Scalar) {
            value.append(scalar)
            kept = value.count
        }

        private mutating func push() {
            while let last = name.last, Self.isSpace(last) { name.removeLast() }
            variables[Self.text(name)] = Self.text(value.prefix(kept))
            reset()
        }

        private mutating func reset() {
            state = .beforeName
            name = []
            value = []
            kept = 0
        }

        private static func text(_ scalars: some Sequence<Unicode.Scalar>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars)
            return String(view)
        }

        private static func isNewline(_ scalar: Unicode.Scalar) -> Bool { scalar == "\n" || scalar == "\r" }

        private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar == " " || scalar == "\t" || isNewline(scalar)
        }
    }
}
