internal import Testing
internal import Timing

@testable import K3s

@Suite("Environment file")
struct EnvironmentFileTests {
    @Test("an exclamation mark stays as it is; what systemd unescapes is escaped")
    func quoting() throws {
        let file = try EnvironmentFile(["A": "x!y", "B": "$HOME `id` \"q\" back\\slash", "C": "two\nlines"])
        #expect(
            file.rendered().hasSuffix(
                "A=\"x!y\"\nB=\"\\$HOME \\`id\\` \\\"q\\\" back\\\\slash\"\nC=\"two\nlines\"\n"))
    }

    @Test("the parser follows systemd's rules")
    func systemdRules() {
        let text = """
            # comment with \\
            continuation=of the comment
            ; another
            PLAIN=a b  \t
             INDENTED = spaced\\ out
            SINGLE='raw $x \\n "q"'
            JOINED='a'"b"c
            DOUBLE="keeps \\n, takes \\$ and \\\\"
            CONTINUED=a\\
            b
            QUOTED_LINES="a
            b"
            EMPTY=
            no assignment
            PLAIN=later wins
            LAST=no newline
            """
        #expect(
            EnvironmentFile.parse(text) == [
                "INDENTED": "spaced out", "SINGLE": "raw $x \\n \"q\"", "JOINED": "abc",
                "DOUBLE": "keeps \\n, takes $ and \\", "CONTINUED": "ab", "QUOTED_LINES": "a\nb", "EMPTY": "",
                "PLAIN": "later wins", "LAST": "no newline",
            ])
    }

    @Test("every value comes back", arguments: 0..<200)
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var variables: [String: String] = [:]
        for index in 0..<Int.random(in: 0...5, using: &generator) {
            variables["V_\(index)"] = RandomText.make(using: &generator, controls: false)
        }
        let file = try EnvironmentFile(variables)
        #expect(EnvironmentFile.parse(file.rendered()) == variables, "seed \(seed)")
    }

    @Test("random text never traps the parser", arguments: 0..<100)
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let text = (0..<8).map { _ in RandomText.make(using: &generator) }.joined(separator: "=")
        #expect(EnvironmentFile.parse(text).count <= text.unicodeScalars.count, "seed \(seed)")
    }

    @Test("names and values that systemd would drop are refused")
    func refused() {
        for name in ["", "1A", "A-B", "A B", "Ä"] {
            #expect(throws: K3sConfigurationError.variableNameInvalid(name)) {
                try EnvironmentFile([name: "x"])
            }
        }
        for value in ["a\rb", "\u{0}", "\u{1B}[0m", String(repeating: "x", count: 1 << 17)] {
            #expect(throws: K3sConfigurationError.variableValueInvalid(name: "A")) {
                try EnvironmentFile(["A": value])
            }
        }
    }
}
