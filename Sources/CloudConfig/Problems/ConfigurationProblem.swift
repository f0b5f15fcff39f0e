package import MeshNetwork

/// One thing that is wrong with the configuration, or worth a warning: what, where, and what would be right.
///
/// It never holds a secret: what was found is described by its kind where the value may be one.
package struct ConfigurationProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    package enum Kind: Hashable, Sendable {
        /// The file or directory cannot be read.
        case unreadable(reason: String)
        /// The file is larger than `SourceFile.maximumSize`.
        case tooLarge(bytes: Int)
        /// None of the first lines is a cloud-config header.
        case missingHeader
        /// The position holds a byte that is no UTF-8.
        case notUTF8
        /// One scan found more files than it reads.
        case tooManyFiles(limit: Int)
        /// No file was found that configures this node.
        case nothingFound(directories: [String])
        /// The text is no YAML.
        case syntax(String)
        /// The file has more documents than the one that is read.
        case furtherDocument
        /// Maps and lists are nested deeper than `YAMLReader.maximumDepth`.
        case tooDeep(limit: Int)
        /// The document has more nodes than `YAMLReader.maximumNodes`, most likely by aliases of aliases.
        case tooManyNodes(limit: Int)
        /// One map has the key twice.
        case duplicateKey(String)
        /// A key is a map, a list or null.
        case keyIsNoText(found: String)
        /// The document is not a map.
        case rootIsNoMap(found: String)
        /// Two files give the same key values of different kinds.
        case conflictingKinds(found: String, earlier: String, at: SourcePosition)
        /// A value is not what its key accepts.
        case invalidValue(found: String, accepted: String)
        /// The network token cannot be used.
        case invalidToken(NetworkTokenError)
        /// Two settings cannot both hold, or one that is needed is missing.
        case contradiction(String, remedy: String)
        /// The key means nothing here.
        case unknownKey(nearest: String?)
        /// The key is known and has no effect.
        case withoutEffect(String)
    }

    /// What is wrong.
    package let kind: Kind
    /// Where, when it has a place.
    package let position: SourcePosition?
    /// The key's path: `p2p.auto.ha.master_nodes`, `k3s.args[2]`.
    package let keyPath: String?

    package init(_ kind: Kind, at position: SourcePosition?, key keyPath: String? = nil) {
        self.kind = kind
        self.position = position
        self.keyPath = keyPath
    }

    /// One line for people: `file:line:column: key: what was found; what is accepted`.
    package var description: String {
        var prefix = ""
        if let position { prefix += isOfTheFile ? "\(position.file): " : "\(position): " }
        if let keyPath { prefix += "\(keyPath): " }
        return prefix + sentence
    }

    /// Whether the problem is the file and not a place in it.
    private var isOfTheFile: Bool {
        switch kind {
        case .unreadable, .tooLarge, .tooManyFiles: true
        default: false
        }
    }

    /// What is wrong and what would be right, without the place.
    package var sentence: String {
        switch kind {
        case .unreadable(let reason):
            "cannot be read: \(reason)"
        case .tooLarge(let bytes):
            "the file has \(bytes) bytes; at most \(SourceFile.maximumSize) (1 MiB) are read"
        case .missingHeader:
            "no header; one of the first \(SourceFile.headerLines) lines must be one of "
                + SourceFile.headers.joined(separator: ", ")
        case .notUTF8:
            "found a byte that is no UTF-8; save the file as UTF-8"
        case .tooManyFiles(let limit):
            "more than \(limit) files; at most \(limit) are read in one scan"
        case .nothingFound(let directories):
            "no cloud-config found in \(directories.joined(separator: ", ")); put a .yaml file that starts"
                + " with #cloud-config into one of them"
        case .syntax(let problem):
            "not valid YAML: \(problem)"
        case .furtherDocument:
            "a second document starts here; only the first one of a file is read"
        case .tooDeep(let limit):
            "nested too deep; at most \(limit) levels are accepted"
        case .tooManyNodes(let limit):
            "the document grows too large (aliases counted each time they are used); at most \(limit) values"
                + " are accepted"
        case .duplicateKey(let key):
            "the key \(quote(key)) stands twice in one map; keep one of them"
        case .keyIsNoText(let found):
            "found \(found) as a key; text is accepted"
        case .rootIsNoMap(let found):
            "the document is \(found); a map of keys and values is accepted"
        case .conflictingKinds(let found, let earlier, let position):
            "found \(found), which cannot be merged with \(earlier) at \(position); give both the same kind"
        case .invalidValue(let found, let accepted):
            "found \(found); \(accepted) is accepted"
        case .invalidToken(let error):
            error == .notBase64
                ? "\(error), or make one with `kairos-agent p2p token generate`" : error.description
        case .contradiction(let text, let remedy):
            "\(text); \(remedy)"
        case .unknownKey(let nearest):
            nearest.map { "unknown key; did you mean \($0)?" } ?? "unknown key; it has no effect"
        case .withoutEffect(let why):
            "has no effect: \(why)"
        }
    }

    private func quote(_ text: String) -> String { FoundValue.quoted(text) }
}

/// Why a configuration cannot be used: every problem that was found, so that one edit can settle them all.
package struct ConfigurationFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The problems, in the order of the files; never empty.
    package let problems: [ConfigurationProblem]

    /// Makes a failure out of at least one problem.
    package init(_ problems: [ConfigurationProblem]) {
        self.problems = problems
    }

    /// The code of sysexits(3) that says the most: 66 when a file cannot be read, 65 when what a file says
    /// is wrong in itself, 78 when right values do not fit together or nothing is configured.
    package var exitCode: Int32 {
        var code: Int32 = 78
        // The files that were passed over are listed with it, and say why.
        if problems.contains(where: { if case .nothingFound = $0.kind { true } else { false } }) {
            return code
        }
        for problem in problems {
            switch problem.kind {
            case .unreadable: return 66
            case .contradiction, .nothingFound, .unknownKey, .withoutEffect: continue
            default: code = 65
            }
        }
        return code
    }

    /// One problem a line.
    package var description: String {
        problems.map(\.description).joined(separator: "\n")
    }
}
