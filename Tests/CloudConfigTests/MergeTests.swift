import Testing

@testable import CloudConfig

@Suite("Merging files")
struct MergeTests {
    private func merge(_ texts: String...) throws -> ConfigurationMap {
        var result = ConfigurationNode(.null, at: SourcePosition(file: "", line: 1, column: 1))
        for (index, text) in texts.enumerated() {
            var reader = YAMLReader(SourceFile(path: "\(index).yaml", text: text))
            result = try result.merged(with: reader.read())
        }
        return try #require(result.map)
    }

    private func texts(_ node: ConfigurationNode?) -> [String]? {
        guard case .list(let items) = node?.content else { return nil }
        return items.map { $0.scalar?.text ?? $0.kindName }
    }

    @Test("maps are merged key by key and later values win, with the place of the winner")
    func deepMaps() throws {
        let map = try merge("a: {b: {c: 1, d: 2}}", "\na: {b: {c: 3, e: 4}}")
        let inner = try #require(map["a"]?.value.map?["b"]?.value.map)
        #expect(inner.entries.map(\.key) == ["c", "d", "e"])
        #expect(inner.entries.map { $0.value.scalar?.text } == ["3", "2", "4"])
        #expect(inner["c"]?.value.position == SourcePosition(file: "1.yaml", line: 2, column: 12))
        #expect(inner["d"]?.value.position == SourcePosition(file: "0.yaml", line: 1, column: 18))
    }

    @Test("lists of single values are united without duplicates")
    func union() throws {
        #expect(texts(try merge("a: [x, y]", "a: [y, z, z]")["a"]?.value) == ["x", "y", "z"])
    }

    @Test("a number and its text are different items")
    func unionOfKinds() throws {
        #expect(texts(try merge("a: [1]", "a: ['1', 1]")["a"]?.value) == ["1", "1"])
    }

    @Test("lists that begin with a map are concatenated")
    func concatenation() throws {
        #expect(texts(try merge("a: [{x: 1}]", "a: [{x: 1}, y]")["a"]?.value) == ["a map", "a map", "y"])
        #expect(texts(try merge("a: [{x: 1}, y]", "a: [y]")["a"]?.value) == ["a map", "y", "y"])
    }

    @Test("an empty list takes what comes later")
    func emptyList() throws {
        #expect(texts(try merge("a: []", "a: [x, x]")["a"]?.value) == ["x", "x"])
    }

    @Test(
        "a later null resets to the zero value of the earlier kind",
        arguments: [
            ("text", "\"\""), ("7", "0"), ("true", "false"), ("[1]", "[]"), ("{b: 1}", "{}"),
            ("null", "null"),
        ])
    func null(value: String, zero: String) throws {
        let result = try merge("a: \(value)", "a: null")["a"]?.value
        let expected = try merge("a: \(zero)")["a"]?.value
        #expect(result?.kindName == expected?.kindName)
        #expect(result?.scalar == expected?.scalar)
        #expect(texts(result) == texts(expected))
        #expect(result?.map?.entries.count == expected?.map?.entries.count)
        #expect(result?.position.file == "1.yaml")
    }

    @Test("an earlier null gives way to anything", arguments: ["x", "1", "[1]", "{a: 1}"])
    func earlierNull(value: String) throws {
        #expect(
            try merge("a:", "a: \(value)")["a"]?.value.kindName == merge("a: \(value)")["a"]?.value.kindName)
    }

    @Test(
        "values of different kinds are refused, and both places are named",
        arguments: [("{x: 1}", "text"), ("[1]", "{x: 1}"), ("1", "one"), ("true", "[true]"), ("1", "1.5")])
    func conflict(earlier: String, later: String) throws {
        let failure = #expect(throws: ConfigurationFailure.self) {
            try merge("p2p:\n  vpn: \(earlier)", "x: 1\np2p: {vpn: \(later)}")
        }
        let problem = try #require(failure?.problems.first)
        #expect(failure?.exitCode == 65)
        #expect(problem.keyPath == "p2p.vpn")
        #expect(problem.description.hasPrefix("1.yaml:2:12: p2p.vpn: found "))
        #expect(problem.description.contains(" at 0.yaml:2:8;"))
    }

    @Test("every conflict is told, not only the first")
    func allConflicts() throws {
        let failure = #expect(throws: ConfigurationFailure.self) {
            try merge("a: 1\nb: 1\nc: 1", "a: x\nb: 2\nc: []")
        }
        #expect(failure?.problems.map(\.keyPath) == ["a", "c"])
    }
}
