import Foundation
import LibP2P
import TestSupport
import Testing

@Suite("The identity on disk")
struct IdentityFileTests {
    /// A folder that exists as long as the test.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.path + "/identity-\(UUID().uuidString)"

        deinit {
            try? FileManager.default.removeItem(atPath: path)
        }

        func mode(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        }
    }

    private let folder = Folder()
    private var path: String { folder.path + "/p2p/identity.key" }

    @Test("a missing file is made once, for its owner alone, and read ever after")
    func create() throws {
        let made = try IdentityFile(path: path).loadOrCreate()
        let first = made.identity
        #expect(made.isNew)
        #expect(try folder.mode(path) == 0o600)
        #expect(try folder.mode(folder.path + "/p2p") == 0o700)
        let again = try IdentityFile(path: path).loadOrCreate()
        #expect(again.identity.peerID == first.peerID && !again.isNew)
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
        let content = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(Array(content) == first.privateKey)
        #expect(content.count == 68)
    }

    @Test("an empty file holds no key, so a new one is made")
    func empty() throws {
        try DurableFile.write([], to: path)
        let identity = try IdentityFile(path: path).loadOrCreate().identity
        #expect(try IdentityFile(path: path).load()?.peerID == identity.peerID)
    }

    @Test("a key that is missing or empty where a node has been is refused, and nothing is changed")
    func lost() throws {
        for isEmpty in [false, true] {
            if isEmpty { try DurableFile.write([], to: path) }
            let error = #expect(throws: IdentityFileError.self) {
                try IdentityFile(path: path).loadOrCreate { exists in
                    #expect(exists == isEmpty)
                    return ["/p2p/election.state"]
                }
            }
            #expect(error == .lost(path: path, isEmpty: isEmpty, besides: ["/p2p/election.state"]))
            let text = try #require(error).description
            #expect(text.contains(isEmpty ? "empty" : "missing"))
            #expect(text.contains("/p2p/election.state") && text.contains("Restore"))
            #expect(try DurableFile.read(path, maximumLength: 1000) == (isEmpty ? [] : nil))
        }
    }

    @Test("a file that holds something else is reported with a remedy and left alone")
    func corrupt() throws {
        let torn = Array(Identity.generate().privateKey.dropLast(5))
        try DurableFile.write(torn, to: path)
        let error = #expect(throws: IdentityFileError.self) { try IdentityFile(path: path).loadOrCreate() }
        let text = try #require(error).description
        #expect(text.contains(path) && text.contains("Restore"))
        #expect(try DurableFile.read(path, maximumLength: 1000) == torn)
    }

    @Test("a key of a kind that nodes do not have is refused by name")
    func foreignKind() throws {
        try DurableFile.write([0x08, 0x02, 0x12, 0x01, 0x00], to: path)
        #expect(throws: IdentityFileError.corrupt(path: path, .unsupportedType(.secp256k1))) {
            try IdentityFile(path: path).loadOrCreate()
        }
    }

    @Test("a file that others may read is closed to them")
    func permissions() throws {
        let identity = Identity.generate()
        try DurableFile.write(identity.privateKey, to: path, mode: 0o644)
        #expect(try folder.mode(path) == 0o644)
        #expect(try IdentityFile(path: path).loadOrCreate().identity.peerID == identity.peerID)
        #expect(try folder.mode(path) == 0o600)
    }

    @Test("a folder in the file's place, and a file that is too long, are errors of access")
    func inaccessible() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        #expect(throws: IdentityFileError.self) { try IdentityFile(path: path).loadOrCreate() }
        let long = folder.path + "/long"
        try DurableFile.write([UInt8](repeating: 1, count: 9000), to: long)
        let error = #expect(throws: IdentityFileError.self) { try IdentityFile(path: long).loadOrCreate() }
        #expect(error?.description.contains(long) == true)
    }

    @Test("a durable write replaces the whole content and survives what an earlier crash left")
    func durable() throws {
        try DurableFile.write(Array("first, longer".utf8), to: path)
        try Data("torn".utf8).write(to: URL(fileURLWithPath: path + ".new"))
        try DurableFile.write(Array("second".utf8), to: path)
        #expect(try DurableFile.read(path, maximumLength: 6) == Array("second".utf8))
        #expect(throws: FileError.self) { try DurableFile.read(path, maximumLength: 5) }
        #expect(try DurableFile.read(path + ".missing", maximumLength: 5) == nil)
        #expect(!FileManager.default.fileExists(atPath: path + ".new"))
    }
}
