import Testing

@testable import CloudConfig

@Suite("Reading one file")
struct YAMLReaderTests {
    private func read(_ text: String) throws -> ConfigurationNode {
        var reader = YAMLReader(SourceFile(path: "a.yaml", text: text))
        return try reader.read()
    }

    private func problem(_ text: String) -> ConfigurationProblem? {
        var reader = YAMLReader(SourceFile(path: "a.yaml", text: text))
        do throws(ConfigurationProblem) {
            _ = try reader.read()
            return nil
        } catch {
            return error
        }
    }

    @Test("every value keeps its line and column")
    func positions() throws {
        let root = try read("#cloud-config\np2p:\n  auto:\n    ha: {master_nodes: 2}\n")
        let nodes = root.map?["p2p"]?.value.map?["auto"]?.value.map?["ha"]?.value.map?["master_nodes"]
        #expect(nodes?.value.position == SourcePosition(file: "a.yaml", line: 4, column: 24))
        #expect(nodes?.keyPosition == SourcePosition(file: "a.yaml", line: 4, column: 10))
    }

    @Test(
        "plain values have the kinds that Go's yaml.v3 gives them",
        arguments: [
            ("3", "a whole number"), ("-3", "a whole number"), ("0x1F", "a whole number"),
            ("0o17", "a whole number"), ("017", "a whole number"), ("1_000", "a whole number"),
            ("99999999999999999999999", "a whole number"), ("0b101", "a whole number"),
            ("3.5", "a decimal number"), ("1e3", "a decimal number"), (".5", "a decimal number"),
            (".inf", "a decimal number"), ("09", "a decimal number"), ("true", "a boolean"),
            ("False", "a boolean"),
            ("yes", "a string"), ("off", "a string"), ("3 nodes", "a string"), ("1.2.3", "a string"),
            ("'3'", "a string"), ("\"true\"", "a string"), ("!!str 3", "a string"), ("~", "nothing (null)"),
            ("null", "nothing (null)"), ("", "nothing (null)"), ("[]", "a list"), ("{}", "a map"),
            ("1__0", "a string"),
        ])
    func kinds(text: String, kind: String) throws {
        #expect(try read("k: \(text)").map?["k"]?.value.kindName == kind)
    }

    @Test(
        "whole numbers are read in every notation, and not when they do not fit",
        arguments: [
            ("3", 3), ("-3", -3), ("+3", 3), ("0x1F", 31), ("0o17", 15), ("017", 15), ("1_000", 1000),
            ("0b101", 5),
            ("0", 0), ("9223372036854775807", Int.max), ("-9223372036854775808", Int.min),
        ])
    func integers(text: String, value: Int) {
        #expect(PlainScalar.integer(text) == value)
    }

    @Test(
        "text that is no whole number of the machine's size is none",
        arguments: [
            "9223372036854775808", "", "-", "0x", "1__0", "_1", "1_", "12a", "0o8",
            String(repeating: "9", count: 999),
        ])
    func notIntegers(text: String) {
        #expect(PlainScalar.integer(text) == nil)
    }

    @Test(
        "an empty file is an empty map",
        arguments: ["", "#cloud-config\n", "#cloud-config\n---\n", "# x\nnull\n"])
    func empty(text: String) throws {
        #expect(try read(text).map?.entries.isEmpty == true)
    }

    @Test(
        "a root that is no map is refused",
        arguments: [("- a", "a list"), ("three", "a string"), ("3", "a whole number")])
    func root(text: String, found: String) {
        #expect(problem(text)?.kind == .rootIsNoMap(found: found))
    }

    @Test("a key that stands twice is refused at its second place or first, with its name")
    func duplicateKey() throws {
        let found = try #require(problem("p2p:\n  dns: true\n  dns: false\n"))
        #expect(found.kind == .duplicateKey("dns"))
        #expect(found.position?.line == 2 || found.position?.line == 3)
    }

    @Test("a key that differs from another only in quotes is the same key")
    func duplicateQuotedKey() {
        #expect(problem("a: 1\n\"a\": 2\n")?.kind == .duplicateKey("a"))
        #expect(problem("1: 1\n'1': 2\n")?.kind == .duplicateKey("1"))
    }

    @Test(
        "a key that is a list, a map or null is refused",
        arguments: ["? [a]\n: 1\n", "{a: 1}: 2\n", "~: 3\n"])
    func complexKey(text: String) throws {
        guard case .keyIsNoText = try #require(problem(text)).kind else {
            Issue.record("\(String(describing: problem(text)))")
            return
        }
    }

    @Test("a tab as indentation is named, with its place")
    func tab() throws {
        let found = try #require(problem("p2p:\n\tdns: true\n"))
        guard case .syntax(let text) = found.kind else {
            Issue.record("\(found)")
            return
        }
        #expect(text.contains("tab"))
        #expect(found.position?.line == 2)
    }

    @Test(
        "broken YAML is refused with its place",
        arguments: [
            "a: [1, 2\n", "a: \"b\n", "a: b: c\n", "{", "a: *nothing\n", "%YAML 9\n---\n", "a: !<x\n",
            "\u{0}",
        ])
    func syntax(text: String) throws {
        let found = try #require(problem(text))
        guard case .syntax = found.kind else {
            Issue.record("\(found)")
            return
        }
        #expect(found.position != nil)
    }

    /// Texts that are nested too deep, by what they are made of: the texts are too long to name a test.
    private static let deepTexts = [
        "lists": String(repeating: "[", count: 100), "maps": String(repeating: "{a: ", count: 100),
        "half a million lists": String(repeating: "[", count: 500_000),
        "dashes": String(repeating: "- ", count: 400_000) + "x",
        "indentation": (0..<200).map { String(repeating: " ", count: $0) + "a:\n" }.joined(),
        "closed lists": "a: " + String(repeating: "[", count: 70) + String(repeating: "]", count: 70),
    ]

    @Test("deep nesting is refused, whatever it is made of", arguments: deepTexts.keys.sorted())
    func nesting(name: String) throws {
        let found = try #require(problem(Self.deepTexts[name] ?? ""))
        switch found.kind {
        case .tooDeep, .syntax: break
        default: Issue.record("\(found)")
        }
    }

    @Test("64 levels are fine")
    func allowedNesting() throws {
        let depth = YAMLReader.maximumDepth - 2
        _ = try read(
            "a: " + String(repeating: "[", count: depth) + "x" + String(repeating: "]", count: depth))
    }

    @Test("aliases stand for what was anchored, with the place of the anchored value")
    func aliases() throws {
        let root = try read("a: &x {b: 1}\nc: *x\n")
        #expect(root.map?["c"]?.value == root.map?["a"]?.value)
        #expect(root.map?["c"]?.value.position.line == 1)
    }

    @Test("a value that is also used as a key keeps its kind, and so do keys")
    func kindsOfAliasedKeys() throws {
        let root = try read("a: &x 3\n*x : 1\nb: &y '3 '\n*y : 1\n!!str 4: 1\n")
        #expect(root.map?["a"]?.value.kindName == "a whole number")
        #expect(root.map?["b"]?.value.kindName == "a string")
        #expect(root.map?.entries.map(\.key) == ["a", "3", "b", "3 ", "4"])
    }

    @Test("a merge key brings the keys that are not there")
    func mergeKey() throws {
        let root = try read("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n")
        let entries = try #require(root.map?["z"]?.value.map?.entries)
        let texts = Dictionary(uniqueKeysWithValues: entries.map { ($0.key, $0.value.scalar?.text) })
        #expect(texts == ["a": "3", "b": "1", "c": "2"])
    }

    private static func bomb(levels: Int, width: Int, use: String) -> String {
        var text = "l0: &l0 [x]\n"
        for level in 1...levels {
            let items = Array(repeating: "*l\(level - 1)", count: width).joined(separator: ", ")
            text += "l\(level): &l\(level) [\(items)]\n"
        }
        return text + use
    }

    @Test(
        "aliases of aliases are refused at once, as values and as keys",
        arguments: ["end: *l30\n", "? *l30\n: x\n", "*l30 : x\n", "? [*l30, *l30]\n: x\n", ""], [2, 9])
    func bombs(use: String, width: Int) throws {
        let clock = ContinuousClock()
        let start = clock.now
        let found = try #require(problem(Self.bomb(levels: 30, width: width, use: use)))
        guard case .tooManyNodes = found.kind else {
            Issue.record("\(found)")
            return
        }
        #expect(clock.now - start < .seconds(5))
    }

    @Test("an alias budget is no burden for a large file that uses aliases as people do")
    func honestAliases() throws {
        var text = "base: &base {image: x, env: {A: b}}\n"
        for index in 0..<20 { text += "s\(index):\n  <<: *base\n  command: \"run & *wait* &done 2>&1\"\n" }
        #expect(try read(text).map?.entries.count == 21)
    }

    @Test("an anchor that is defined twice and used is refused, since no bound is kept for it")
    func redefinedAnchor() throws {
        let found = try #require(problem("a: &x 1\nb: &x 2\nc: *x\n"))
        #expect(found.position == SourcePosition(file: "a.yaml", line: 2, column: 4))
    }

    @Test("only the first document of a file is read, and the others are pointed out")
    func documents() throws {
        var reader = YAMLReader(SourceFile(path: "a.yaml", text: "a: 1\n---\nb: 2\n"))
        let root = try reader.read()
        #expect(root.map?.entries.map(\.key) == ["a"])
        #expect(reader.warnings.map(\.kind) == [.furtherDocument])
    }

    @Test("no text makes the reader trap or run on", arguments: [UInt64(1), 2, 3, 4])
    func fuzz(seed: UInt64) {
        var generator = Generator(state: seed)
        let pieces = [
            "a", "b: ", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ",", "&x ", "*x", "? ", ": ", "|\n",
            ">\n", "'", "\"",
            "#", "!!str ", "!", "%", "---\n", "...\n", "<<", "~", "\u{FEFF}", "ż", "\u{0}", "0x", "1_0", "\\",
        ]
        for round in 0..<3000 {
            var text = ""
            for _ in 0..<Int.random(in: 1...40, using: &generator) {
                text += pieces[Int.random(in: 0..<pieces.count, using: &generator)]
            }
            var reader = YAMLReader(SourceFile(path: "a.yaml", text: text))
            do throws(ConfigurationProblem) {
                _ = try reader.read()
            } catch {
                #expect(!error.description.isEmpty, "seed \(seed) round \(round)")
            }
        }
    }

    /// SplitMix64: a failing seed is enough to run it again.
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
}
