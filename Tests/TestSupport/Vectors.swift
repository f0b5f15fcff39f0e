package import Foundation

/// Known answers of the real implementations, read from the folder that `KAIROS_VECTORS` names,
/// else from `../shared/vectors` beside the repository, else from the copy in `Tests/Vectors`.
package enum Vectors {
    /// The folder the vectors are read from.
    package static let folder: URL = {
        if let named = ProcessInfo.processInfo.environment["KAIROS_VECTORS"] {
            return URL(fileURLWithPath: named)
        }
        let shared = repository.deletingLastPathComponent().appendingPathComponent("shared/vectors")
        if FileManager.default.fileExists(atPath: shared.appendingPathComponent("token.json").path) {
            return shared
        }
        return repository.appendingPathComponent("Tests/Vectors")
    }()

    /// The repository's root folder.
    package static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The bytes of one file of the folder, such as `noise.json`.
    package static func data(_ name: String) throws -> Data {
        try Data(contentsOf: folder.appendingPathComponent(name))
    }

    /// One file of the folder, decoded. Whole numbers up to 2^64-1 are read exactly. With
    /// `snakeCase` a property `peerId` reads the key `peer_id`.
    package static func load<Content: Decodable>(
        _ name: String, as type: Content.Type = Content.self, snakeCase: Bool = false
    ) throws -> Content {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = snakeCase ? .convertFromSnakeCase : .useDefaultKeys
        return try decoder.decode(type, from: data(name))
    }
}
