internal import Yams

/// Reads the YAML of one file into a `ConfigurationNode` whose values keep their places.
///
/// The kinds of plain values are those of Go's yaml.v3, which Kairos reads with: `yes` is a string, `0o17`,
/// `017` and `0x0f` are whole numbers. Everything is bounded: size (by `SourceFile`), depth, number of
/// values, what aliases stand for.
package struct YAMLReader {
    /// How deep maps and lists may be nested.
    package static let maximumDepth = 64
    /// How many values a document may have, aliases counted each time they are used.
    package static let maximumNodes = 100_000

    private let file: SourceFile
    private var count = 0
    /// What is odd and does no harm.
    package private(set) var warnings: [ConfigurationProblem] = []

    /// Makes a reader of `file`.
    package init(_ file: SourceFile) {
        self.file = file
    }

    /// The first document of the file, which is a map; an empty file is an empty map.
    ///
    /// - Throws: `ConfigurationProblem`: syntax, bounds, duplicate keys, or a root that is no map.
    package mutating func read() throws(ConfigurationProblem) -> ConfigurationNode {
        try checkAliases()
        let start = SourcePosition(file: file.path, line: 1, column: 1)
        guard let root = try compose() else { return ConfigurationNode(.map(ConfigurationMap()), at: start) }
        let node = try convert(root, depth: 1)
        switch node.content {
        case .map: return node
        case .null: return ConfigurationNode(.map(ConfigurationMap()), at: node.position)
        default: throw ConfigurationProblem(.rootIsNoMap(found: node.kindName), at: node.position)
        }
    }

    private func checkAliases() throws(ConfigurationProblem) {
        switch AliasBudget.excess(in: file.text.utf8) {
        case nil: return
        case .tooLarge(let offset):
            throw ConfigurationProblem(.tooManyNodes(limit: Self.maximumNodes), at: position(ofByte: offset))
        case .redefined(let name, let offset):
            throw ConfigurationProblem(
                .syntax("the anchor &\(name) is defined a second time; give it another name"),
                at: position(ofByte: offset))
        }
    }

    // MARK: text to Yams' nodes

    /// The tag of values that have none, once the parser has looked at them.
    private static let untagged = "?"

    /// Kinds are resolved below, as Go does, so the parser must not do it. It asks for the tags of keys when
    /// it looks for duplicates, and keeps the answer.
    private static func resolver() throws -> Resolver {
        try Resolver.basic.appending(Tag.Name(rawValue: untagged), "^")
    }

    private mutating func compose() throws(ConfigurationProblem) -> Node? {
        do {
            let parser = try Parser(yaml: file.text, resolver: Self.resolver(), encoding: .utf8)
            let root = try parser.nextRoot()
            // Only the first document is read, by Kairos too, so what follows is not looked into.
            if root != nil, let further = try? parser.nextRoot() {
                let mark = further.mark.map(position) ?? SourcePosition(file: file.path, line: 1, column: 1)
                warnings.append(ConfigurationProblem(.furtherDocument, at: mark))
            }
            return root
        } catch let error as YamlError {
            throw problem(of: error)
        } catch {
            throw ConfigurationProblem(
                .syntax("the parser gave up"), at: SourcePosition(file: file.path, line: 1, column: 1))
        }
    }

    private func problem(of error: YamlError) -> ConfigurationProblem {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            if problem.hasPrefix("Maximum nesting level") {
                return ConfigurationProblem(.tooDeep(limit: Self.maximumDepth), at: position(mark))
            }
            let text = context.map { "\($0.text), \(problem)" } ?? problem
            return ConfigurationProblem(.syntax(Self.withHint(text)), at: position(mark))
        case .reader(let problem, let offset, _, _):
            let place = offset.map(position(ofCharacter:))
            return ConfigurationProblem(
                .syntax(problem), at: place ?? SourcePosition(file: file.path, line: 1, column: 1))
        case .duplicatedKeysInMapping(let duplicates, let context):
            return ConfigurationProblem(.duplicateKey(duplicates.first ?? ""), at: position(context.mark))
        default:
            return ConfigurationProblem(
                .syntax("the parser gave up"), at: SourcePosition(file: file.path, line: 1, column: 1))
        }
    }

    /// libyaml's sentence for a tab in the indentation does not say what to do.
    private static func withHint(_ problem: String) -> String {
        problem.contains("cannot start any token")
            ? problem + " (indent with spaces, not with tabs)" : problem
    }

    private func position(_ mark: Mark) -> SourcePosition {
        SourcePosition(file: file.path, line: mark.line, column: mark.column)
    }

    private func position(ofByte offset: Int) -> SourcePosition {
        position(after: file.text.utf8.prefix(offset))
    }

    private func position(ofCharacter offset: Int) -> SourcePosition {
        position(after: file.text.prefix(offset).utf8)
    }

    private func position(after prefix: some Collection<UInt8>) -> SourcePosition {
        var line = 1
        var column = 1
        for byte in prefix {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return SourcePosition(file: file.path, line: line, column: column)
    }

    // MARK: Yams' nodes to ours

    private mutating func convert(_ node: Node, depth: Int) throws(ConfigurationProblem) -> ConfigurationNode
    {
        let place = node.mark.map(position) ?? SourcePosition(file: file.path, line: 1, column: 1)
        guard depth <= Self.maximumDepth else {
            throw ConfigurationProblem(.tooDeep(limit: Self.maximumDepth), at: place)
        }
        count += 1
        guard count <= Self.maximumNodes else {
            throw ConfigurationProblem(.tooManyNodes(limit: Self.maximumNodes), at: place)
        }
        switch node {
        case .scalar(let scalar):
            return ConfigurationNode(Self.content(of: scalar), at: place)
        case .sequence(let sequence):
            var items: [ConfigurationNode] = []
            items.reserveCapacity(min(sequence.count, Self.maximumNodes))
            for item in sequence { items.append(try convert(item, depth: depth + 1)) }
            return ConfigurationNode(.list(items), at: place)
        case .mapping(let mapping):
            return ConfigurationNode(.map(try convert(mapping, depth: depth)), at: place)
        case .alias:
            // The parser has put the node that an alias stands for in its place.
            throw ConfigurationProblem(.syntax("an alias that stands for nothing"), at: place)
        }
    }

    private mutating func convert(
        _ mapping: Node.Mapping, depth: Int
    ) throws(ConfigurationProblem) -> ConfigurationMap {
        var map = ConfigurationMap()
        var inherited: [ConfigurationMap] = []
        for (key, value) in mapping {
            let place = key.mark.map(position) ?? SourcePosition(file: file.path, line: 1, column: 1)
            guard case .scalar(let scalar) = key, case .scalar(let name) = Self.content(of: scalar) else {
                let found = try convert(key, depth: depth + 1).kindName
                throw ConfigurationProblem(.keyIsNoText(found: found), at: place)
            }
            if scalar.style == .plain, name.text == "<<" {
                inherited += try maps(toInherit: convert(value, depth: depth + 1))
                continue
            }
            // Two keys that differ only in quotes, which the parser does not see as equal.
            guard map[name.text] == nil else {
                throw ConfigurationProblem(.duplicateKey(name.text), at: place)
            }
            let converted = try convert(value, depth: depth + 1)
            map.set(.init(key: name.text, keyPosition: place, value: converted))
        }
        for source in inherited {
            for entry in source.entries where map[entry.key] == nil { map.set(entry) }
        }
        return map
    }

    /// The maps that a merge key (`<<`) names: one, or a list of which the first has precedence.
    private func maps(toInherit node: ConfigurationNode) throws(ConfigurationProblem) -> [ConfigurationMap] {
        let items: [ConfigurationNode]
        if case .list(let list) = node.content { items = list } else { items = [node] }
        var maps: [ConfigurationMap] = []
        for item in items {
            guard let map = item.map else {
                throw ConfigurationProblem(
                    .invalidValue(found: item.kindName, accepted: "a map, or a list of maps,"),
                    at: item.position, key: "<<")
            }
            maps.append(map)
        }
        return maps
    }

    // MARK: kinds

    private static func content(of scalar: Node.Scalar) -> ConfigurationNode.Content {
        switch scalar.tag.description {
        case "tag:yaml.org,2002:null": return .null
        case "tag:yaml.org,2002:bool": return .scalar(.init(scalar.string, .boolean))
        case "tag:yaml.org,2002:int": return .scalar(.init(scalar.string, .integer))
        case "tag:yaml.org,2002:float": return .scalar(.init(scalar.string, .float))
        case Tag.Name.implicit.rawValue where scalar.style == .plain, untagged where scalar.style == .plain:
            return PlainScalar.content(of: scalar.string)
        default: return .scalar(.init(scalar.string, .string))
        }
    }
}
