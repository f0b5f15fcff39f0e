import Coordination
import Foundation
import LibP2P
import NodeAgent
import Testing
import Timing

/// A folder of its own, removed afterwards.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "node-agent-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

@Suite("The agent's lock and files")
struct FilesTests {
    let now = UnixTime(seconds: 1_800_000_000)

    private func mode(_ path: String) throws -> Int? {
        (try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber)?.intValue
    }

    private func state(promisedRound round: UInt64) throws -> ElectionState {
        let identity = try Identity(seed: SecretBytes(copying: [UInt8](repeating: 3, count: 32)))
        return ElectionState(
            scope: ElectionScope(network: "n", quorum: 2), owner: identity.peerID,
            promised: Ballot(round: round, proposer: identity.peerID), highestDrivenRound: round)
    }

    @Test("a second agent on one root is refused, and told whose process holds it")
    func lock() throws {
        let scratch = try Scratch()
        let path = NodePaths(root: scratch.path).lock
        let first = try InstanceLock(path: path)
        var refusal: InstanceLock.Failure?
        do { _ = try InstanceLock(path: path) } catch { refusal = error }
        #expect(refusal == .held(path: path, by: Int(ProcessInfo.processInfo.processIdentifier)))
        #expect(refusal?.description.contains("another kairos-agent") == true)
        _ = consume first
        // Released with its owner, not with the file.
        _ = try InstanceLock(path: path)
    }

    @Test("a lock that cannot be made says why")
    func unusableLock() throws {
        let scratch = try Scratch()
        try Data().write(to: URL(fileURLWithPath: scratch.path + "/run"))
        #expect(throws: InstanceLock.Failure.self) {
            _ = try InstanceLock(path: scratch.path + "/run/agent.lock")
        }
    }

    @Test("the election's state survives, readable by its owner alone")
    func election() throws {
        let scratch = try Scratch()
        let paths = NodePaths(root: scratch.path)
        let disk = NodeDisk(paths: paths)
        #expect(try disk.loadElection(at: now).content == nil)
        let saved = try state(promisedRound: 7)
        try disk.save(saved)
        #expect(try disk.loadElection(at: now).content == saved)
        #expect(try mode(paths.electionState) == 0o600)
    }

    @Test("a torn election state is set aside, never half-read, and not in the way of the next one")
    func tornElection() throws {
        let scratch = try Scratch()
        let paths = NodePaths(root: scratch.path)
        let disk = NodeDisk(paths: paths)
        try disk.save(state(promisedRound: 7))
        let whole = try Data(contentsOf: URL(fileURLWithPath: paths.electionState))
        for length in stride(from: 0, to: whole.count, by: 23) {
            try whole.prefix(length).write(to: URL(fileURLWithPath: paths.electionState))
            guard case .setAside(let aside) = try disk.loadElection(at: now) else {
                Issue.record("\(length) bytes of \(whole.count) were taken for a state")
                return
            }
            #expect(FileManager.default.fileExists(atPath: aside))
            #expect(try disk.loadElection(at: now).content == nil)
        }
    }

    @Test("a state that cannot be read stops the node instead of being forgotten")
    func unreadableElection() throws {
        let scratch = try Scratch()
        let paths = NodePaths(root: scratch.path)
        try FileManager.default.createDirectory(
            atPath: paths.electionState, withIntermediateDirectories: true)
        #expect(throws: NodeDiskError.self) { try NodeDisk(paths: paths).loadElection(at: now) }
    }

    @Test("the join token is made once, and a server's own token goes first")
    func joinToken() throws {
        let scratch = try Scratch()
        let paths = NodePaths(root: scratch.path)
        let disk = NodeDisk(paths: paths)
        let made = try disk.makeJoinToken()
        #expect(made.utf8.count == 64)
        #expect(try disk.loadJoinToken(at: now).content == made)
        #expect(try mode(paths.joinToken) == 0o600)

        let server = paths.k3sDataDirectory + "/server"
        try FileManager.default.createDirectory(atPath: server, withIntermediateDirectories: true)
        let full = "K10" + String(repeating: "ab", count: 32) + "::server:the-password"
        try Data((full + "\n").utf8).write(to: URL(fileURLWithPath: server + "/token"))
        #expect(disk.serverToken == full)
        #expect(try disk.makeJoinToken() == "the-password")
    }
}
