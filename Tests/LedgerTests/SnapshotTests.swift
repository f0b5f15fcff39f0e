import Foundation
import Ledger
import LibP2P
import Synchronization
import Testing
import Timing

/// A disk in memory that loses what was not synced and can fail or stop at any step. Shared by its
/// owners, so that it can be looked at behind the store's back.
final class FaultyDisk: FileLayer {
    private struct State {
        /// What a reader sees, and what would be left after a power cut.
        var visible: [String: [UInt8]]
        var durable: [String: [UInt8]]
        var steps = 0
        /// The step at which the power goes.
        var powerCutAt: Int?
        var error: FileLayerError?
    }

    private let state: Mutex<State>

    static let cut = FileLayerError(step: "lose power", code: 5)

    init(_ files: [String: [UInt8]] = [:], powerCutAt: Int? = nil, error: FileLayerError? = nil) {
        state = Mutex(State(visible: files, durable: files, powerCutAt: powerCutAt, error: error))
    }

    func read(_ path: String, limit: Int) throws(FileLayerError) -> [UInt8]? {
        state.withLock { $0.visible[path] }
    }

    func writeAndSync(_ path: String, _ bytes: [UInt8]) throws(FileLayerError) {
        // Creating, writing half, writing all, syncing: the power can go between any two of them.
        for part in [0, bytes.count / 2, bytes.count] {
            state.withLock {
                $0.visible[path] = Array(bytes.prefix(part))
                // The disk may have written any of it on its own.
                $0.durable[path] = Array(bytes.prefix(part / 2))
            }
            try step()
        }
        state.withLock { $0.durable[path] = bytes }
        try step()
    }

    func rename(_ path: String, to other: String) throws(FileLayerError) {
        state.withLock { $0.visible[other] = $0.visible.removeValue(forKey: path) }
        try step()
    }

    func syncFolder(of path: String) throws(FileLayerError) {
        try step()
        state.withLock { $0.durable = $0.visible }
    }

    private func step() throws(FileLayerError) {
        let problem: FileLayerError? = state.withLock {
            $0.steps += 1
            if let powerCutAt = $0.powerCutAt, $0.steps >= powerCutAt { return Self.cut }
            return $0.error
        }
        if let problem { throw problem }
    }

    /// The disk after a restart: with what was synced, or with what was seen (renames may survive
    /// unsynced).
    func restarted(losing: Bool) -> FaultyDisk {
        FaultyDisk(state.withLock { losing ? $0.durable : $0.visible })
    }
}

@Suite("Snapshots")
struct SnapshotTests {
    static let tag = [UInt8](repeating: 7, count: SnapshotFormat.tagLength)

    static func block(_ number: Int) -> Block {
        var ledger = Ledger()
        for key in 0..<20 {
            let entry = Entry(value: LedgerText("\"\(number)-\(key)\""), version: UInt64(number + 1))
            _ = ledger.merge(Block(EntryID("kairos", LedgerText("\(key)")), entry), at: UnixTime(seconds: 0))
        }
        return ledger.block(at: UnixTime(seconds: 0))
    }

    @Test("what was saved is read back")
    func roundTrip() throws {
        var store = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: FaultyDisk())
        var loaded = try store.load()
        #expect(loaded == LoadedSnapshot(block: nil, setAside: nil))
        for number in 1...2 {
            try store.save(Self.block(number))
            loaded = try store.load()
            #expect(loaded.block == Self.block(number))
        }
    }

    @Test(
        "a power cut at any step leaves the old snapshot or the new one, whole", arguments: 1...6,
        [false, true])
    func powerCut(step: Int, losing: Bool) throws {
        let old = SnapshotFormat.encode(Self.block(1), tag: Self.tag)
        let disk = FaultyDisk(["/x/ledger": old], powerCutAt: step)
        var store = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: disk)
        #expect(throws: SnapshotError.self) { try store.save(Self.block(2)) }
        var restarted = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: disk.restarted(losing: losing))
        var loaded = try restarted.load()
        #expect(loaded.setAside == nil)
        #expect(loaded.block == Self.block(1) || (loaded.block == Self.block(2) && step > 4))
        try restarted.save(Self.block(3))
        loaded = try restarted.load()
        #expect(loaded.block == Self.block(3))
    }

    @Test("a full disk, a read-only one and missing rights are told apart and keep the old snapshot")
    func systemErrors() throws {
        for (code, expected) in [
            (28, SnapshotError.diskFull(path: "/x/ledger")), (30, .readOnly(path: "/x/ledger")),
            (13, .permission(path: "/x/ledger")), (5, .failed(step: "write", path: "/x/ledger", code: 5)),
        ] as [(Int32, SnapshotError)] {
            let disk = FaultyDisk(
                ["/x/ledger": SnapshotFormat.encode(Self.block(1), tag: Self.tag)],
                error: FileLayerError(step: "write", code: code))
            var store = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: disk)
            #expect(throws: expected) { try store.save(Self.block(2)) }
            let loaded = try store.load()
            #expect(loaded.block == Self.block(1))
        }
    }

    @Test("a snapshot cut off anywhere is set aside, never half-read")
    func torn() throws {
        let bytes = SnapshotFormat.encode(Self.block(1), tag: Self.tag)
        for length in 0..<bytes.count {
            let disk = FaultyDisk(["/x/ledger": Array(bytes.prefix(length))])
            var store = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: disk)
            var loaded = try store.load()
            let expected = SetAsideSnapshot(problem: .torn, path: "/x/ledger.set-aside")
            #expect(loaded == LoadedSnapshot(block: nil, setAside: expected))
            loaded = try store.load()
            #expect(loaded == LoadedSnapshot(block: nil, setAside: nil))
        }
    }

    @Test("a snapshot with any bit changed is set aside")
    func corrupt() throws {
        let bytes = SnapshotFormat.encode(Self.block(1), tag: Self.tag)
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 1 << UInt8(place % 8)
            #expect(throws: SnapshotProblem.self, "byte \(place)") {
                try SnapshotFormat.decode(changed, tag: Self.tag)
            }
        }
        #expect(throws: SnapshotProblem.corrupt) { try SnapshotFormat.decode(bytes + [0], tag: Self.tag) }
        var newer = bytes
        newer[11] = 2
        #expect(throws: SnapshotProblem.unknownVersion(2)) { try SnapshotFormat.decode(newer, tag: Self.tag) }
    }

    @Test("the ledger of another network is not poured into this one")
    func otherNetwork() throws {
        var store = SnapshotStore(path: "/x/ledger", tag: Self.tag, files: FaultyDisk())
        try store.save(Self.block(1))
        let bytes = SnapshotFormat.encode(Self.block(1), tag: Self.tag)
        let other = [UInt8](repeating: 8, count: 32)
        #expect(throws: SnapshotProblem.otherNetwork) { try SnapshotFormat.decode(bytes, tag: other) }
        #expect(throws: SnapshotProblem.foreign) {
            try SnapshotFormat.decode(Array("otp: this is no ledger".utf8), tag: other)
        }
    }

    // MARK: the kernel's files

    private func folder() throws -> URL {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("ledger-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    @Test("a snapshot on a real disk is readable by its owner alone and leaves nothing beside it")
    func realDisk() throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("ledger.snapshot").path
        var store = SnapshotStore(path: path, tag: Self.tag, files: SystemFiles())
        try store.save(Self.block(1))
        var loaded = try store.load()
        #expect(loaded.block == Self.block(1))
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["ledger.snapshot"])
        try Data("otp: nonsense".utf8).write(to: URL(fileURLWithPath: path))
        loaded = try store.load()
        #expect(loaded.setAside == SetAsideSnapshot(problem: .foreign, path: path + ".set-aside"))
        #expect(FileManager.default.fileExists(atPath: path + ".set-aside"))
        var lost = SnapshotStore(path: path + "/no/such", tag: Self.tag, files: SystemFiles())
        #expect(throws: SnapshotError.self) { try lost.save(Self.block(1)) }
    }

    @Test("a disk that is really full keeps the old snapshot")
    func fullDevice() throws {
        var store = SnapshotStore(path: "/dev/full", tag: Self.tag, files: FullDevice())
        #expect(throws: SnapshotError.diskFull(path: "/dev/full")) { try store.save(Self.block(1)) }
    }

    @Test("a process killed at any instant leaves a whole snapshot behind", .timeLimit(.minutes(2)))
    func killed() async throws {
        let folder = try folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("ledger.snapshot").path
        var generator = SeededGenerator(seed: 5)
        var written = 0
        for round in 0..<12 {
            let writer = Process()
            writer.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            writer.arguments = ["--testing-library", "swift-testing", "--filter", "SnapshotWriterProcess"]
            var environment = ProcessInfo.processInfo.environment
            environment["KAIROS_SNAPSHOT_WRITER"] = path
            writer.environment = environment
            writer.standardOutput = FileHandle.nullDevice
            writer.standardError = FileHandle.nullDevice
            try writer.run()
            // The first round waits for the first snapshot, so the loop is known to be writing.
            let deadline = ContinuousClock.now + .seconds(30)
            while round == 0, !FileManager.default.fileExists(atPath: path), ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(20))
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 60...260, using: &generator)))
            kill(writer.processIdentifier, SIGKILL)
            writer.waitUntilExit()
            var store = SnapshotStore(path: path, tag: Self.tag, files: SystemFiles())
            let loaded = try store.load()
            #expect(loaded.setAside == nil, "round \(round)")
            let block = try #require(loaded.block, "no snapshot after 30 s: the writer did not start")
            let number = try #require(Int(block.timestamp.string))
            #expect(block.storage == Self.block(number).storage)
            written = max(written, number)
        }
        #expect(written > 3, "the writer wrote \(written) snapshots")
    }
}

/// The kernel's always-full device, reached through the real system calls.
struct FullDevice: FileLayer {
    var files = SystemFiles()

    func read(_ path: String, limit: Int) throws(FileLayerError) -> [UInt8]? { nil }
    mutating func writeAndSync(_ path: String, _ bytes: [UInt8]) throws(FileLayerError) {
        let handle = FileHandle(forWritingAtPath: "/dev/full")
        do { try handle?.write(contentsOf: Data(bytes)) } catch {
            throw FileLayerError(step: "write", code: 28)
        }
    }
    mutating func rename(_ path: String, to other: String) throws(FileLayerError) {}
    mutating func syncFolder(of path: String) throws(FileLayerError) {}
}

/// Not a test of its own: the process that the test above starts and kills.
@Suite(
    "SnapshotWriterProcess",
    .enabled(if: ProcessInfo.processInfo.environment["KAIROS_SNAPSHOT_WRITER"] != nil))
struct SnapshotWriterProcess {
    @Test("writes one snapshot after the other until it is killed")
    func write() throws {
        let path = try #require(ProcessInfo.processInfo.environment["KAIROS_SNAPSHOT_WRITER"])
        var store = SnapshotStore(path: path, tag: SnapshotTests.tag, files: SystemFiles())
        for number in 1... {
            var block = SnapshotTests.block(number)
            block.timestamp = LedgerText("\(number)")
            try store.save(block)
            // Whoever was supposed to kill this process is gone.
            if number > 100_000 { return }
        }
    }
}

@Suite("When snapshots are written")
struct SnapshotScheduleTests {
    @Test("a ledger that changes all the time is written once a second")
    func coalescing() {
        var schedule = SnapshotSchedule()
        var writes = 0
        for millisecond in 0..<10_000 {
            let now = Instant.zero + .milliseconds(millisecond)
            schedule.changed()
            if schedule.shouldWrite(at: now) {
                writes += 1
                schedule.finished(succeeded: true, at: now)
            }
        }
        #expect(writes == 10)
        #expect(schedule.hasUnsavedChanges)
    }

    @Test("an urgent change is written at once, an unchanged ledger never")
    func urgency() {
        var schedule = SnapshotSchedule()
        #expect(schedule.nextDeadline == nil)
        #expect(schedule.shouldWrite(at: .zero) == false)
        schedule.changed()
        #expect(schedule.shouldWrite(at: .zero) == true)
        schedule.changed()
        // One write at a time.
        #expect(schedule.nextDeadline == nil)
        schedule.finished(succeeded: true, at: .zero)
        #expect(schedule.nextDeadline == Instant.zero + .seconds(1))
        #expect(schedule.shouldWrite(at: .zero + .milliseconds(500)) == false)
        schedule.changed(urgent: true)
        #expect(schedule.shouldWrite(at: .zero + .milliseconds(500)) == true)
        schedule.finished(succeeded: true, at: .zero + .milliseconds(501))
        #expect(!schedule.hasUnsavedChanges)
    }

    @Test("who waits for durability waits for one write, however many changes follow")
    func waiting() {
        var schedule = SnapshotSchedule()
        schedule.changed(urgent: true)
        let wanted = schedule.changes
        #expect(schedule.shouldWrite(at: .zero) == true)
        schedule.changed()
        // What is asked for is under way; the later change keeps its own time.
        schedule.finished(succeeded: true, at: .zero)
        #expect(schedule.savedChanges == wanted && schedule.hasUnsavedChanges)
        #expect(schedule.nextDeadline == Instant.zero + .seconds(1))
        schedule.hurry()
        #expect(schedule.shouldWrite(at: .zero) == true)
        schedule.hurry()
        schedule.finished(succeeded: false, at: .zero)
        #expect(schedule.savedChanges == wanted)
    }

    @Test("a failed write is tried again, later each time")
    func retries() {
        var schedule = SnapshotSchedule()
        var now = Instant.zero
        schedule.changed()
        var waits: [Duration] = []
        for _ in 0..<8 {
            #expect(schedule.shouldWrite(at: now) == true)
            schedule.finished(succeeded: false, at: now)
            #expect(schedule.hasUnsavedChanges)
            guard let next = schedule.nextDeadline else { break }
            waits.append(next - now)
            now = next
        }
        #expect(waits == [2, 4, 8, 16, 32, 60, 60, 60].map { .seconds($0) })
    }
}
