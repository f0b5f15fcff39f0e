extension ConfigurationNode {
    /// This value with `later` laid over it, by the rules of contract/kairos.md §1.5:
    ///
    /// - maps are merged key by key;
    /// - of two single values of one kind the later wins;
    /// - lists are concatenated when the first item of the earlier one is a map, else the single values of
    ///   the later one that are missing are added;
    /// - a later null resets to the zero value of the earlier kind, an earlier null gives way;
    /// - values of different kinds are an error.
    ///
    /// - Throws: `ConfigurationFailure` with every pair of places that disagree in kind.
    package func merged(with later: ConfigurationNode) throws(ConfigurationFailure) -> ConfigurationNode {
        var conflicts: [ConfigurationProblem] = []
        let result = merged(with: later, path: [], conflicts: &conflicts)
        guard conflicts.isEmpty else { throw ConfigurationFailure(conflicts) }
        return result
    }

    private func merged(
        with later: ConfigurationNode, path: [String], conflicts: inout [ConfigurationProblem]
    ) -> ConfigurationNode {
        switch (content, later.content) {
        case (.null, _):
            return later
        case (_, .null):
            return ConfigurationNode(content.zero, at: later.position)
        case (.map(var map), .map(let laterMap)):
            for entry in laterMap.entries {
                var merged = entry
                if let earlier = map[entry.key] {
                    merged.value = earlier.value.merged(
                        with: entry.value, path: path + [entry.key], conflicts: &conflicts)
                }
                map.set(merged)
            }
            return ConfigurationNode(.map(map), at: later.position)
        case (.list(let items), .list(let laterItems)):
            return ConfigurationNode(.list(Self.merged(items, laterItems)), at: later.position)
        case (.scalar(let scalar), .scalar(let laterScalar)) where scalar.kind == laterScalar.kind:
            return later
        default:
            conflicts.append(
                ConfigurationProblem(
                    .conflictingKinds(found: later.kindName, earlier: kindName, at: position),
                    at: later.position, key: path.isEmpty ? nil : path.joined(separator: ".")))
            return self
        }
    }

    private static func merged(
        _ items: [ConfigurationNode], _ laterItems: [ConfigurationNode]
    ) -> [ConfigurationNode] {
        guard let first = items.first else { return laterItems }
        if first.map != nil { return items + laterItems }
        var result = items
        var scalars = Set(items.compactMap(\.scalar))
        for item in laterItems {
            if let scalar = item.scalar {
                if scalars.insert(scalar).inserted { result.append(item) }
            } else {
                result.append(item)
            }
        }
        return result
    }

    /// The single value, when it is one.
    var scalar: Scalar? {
        if case .scalar(let scalar) = content { scalar } else { nil }
    }
}

extension ConfigurationNode.Content {
    /// What a null makes of a value of this kind.
    fileprivate var zero: Self {
        switch self {
        case .null: .null
        case .list: .list([])
        case .map: .map(ConfigurationMap())
        case .scalar(let scalar):
            switch scalar.kind {
            case .string: .scalar(.init("", .string))
            case .boolean: .scalar(.init("false", .boolean))
            case .integer: .scalar(.init("0", .integer))
            case .float: .scalar(.init("0", .float))
            }
        }
    }
}
