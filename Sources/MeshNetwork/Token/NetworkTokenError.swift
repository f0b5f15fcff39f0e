/// Why a network token cannot be used. Nothing here repeats the token's texts: they are secret.
package enum NetworkTokenError: Error, Hashable, Sendable {
    /// There is no token.
    case empty
    /// The token is longer than any token is.
    case tooLong(bytes: Int)
    /// The token is not standard padded base64.
    case notBase64
    /// The text inside is not YAML, or nested or aliased beyond reason; the line, when it is known.
    case notYAML(line: Int?)
    /// The document is not a map.
    case notAMap
    /// A key is given twice in one map.
    case duplicateKey(String)
    /// A key's value has another type, or is a number out of range.
    case wrongType(key: String)
    /// A key that the network needs is missing or empty.
    case missing(key: String)
    /// The seconds between two rotations are not positive.
    case interval(key: String, Int64)
    /// A password of this length cannot be made.
    case length(key: String, Int64)
    /// Messages of this size cannot be exchanged.
    case messageSize(Int64)
    /// The system has no MD5, which names and keys are made of.
    case digestUnavailable
}

extension NetworkTokenError: CustomStringConvertible {
    package var description: String { "\(cause); \(remedy)" }

    private var cause: String {
        switch self {
        case .empty: "the network token is empty"
        case .tooLong(let bytes): "the network token has \(bytes) bytes, more than any token"
        case .notBase64: "the network token is not base64"
        case .notYAML(let line?): "the network token holds no YAML: line \(line) of the decoded text"
        case .notYAML(nil): "the network token holds no YAML"
        case .notAMap: "the network token is not a YAML map"
        case .duplicateKey(let key): "the network token gives \(key) twice"
        case .wrongType(let key): "\(key) in the network token has the wrong type or is out of range"
        case .missing(let key): "\(key) is missing in the network token"
        case .interval(let key, let value): "\(key) in the network token is \(value) seconds, not a time"
        case .length(let key, let value): "\(key) in the network token is \(value), not 0 to 44"
        case .messageSize(let value):
            "max_message_size in the network token is \(value) bytes, not 1 KiB to 64 MiB"
        case .digestUnavailable: "this system has no MD5, which EdgeVPN's names are made of"
        }
    }

    /// What an operator can do.
    package var remedy: String {
        switch self {
        case .digestUnavailable: "run outside of strict FIPS mode"
        case .notBase64: "copy the whole token, with its padding and without spaces"
        default: "make one with `kairos-agent p2p token generate` and put the same one on every node"
        }
    }
}
