internal import Foundation
internal import Testing

@testable import K3s

@Suite("Files")
struct FileSystemTests {
    let folder = TemporaryFolder()

    @Test("a file is written with its folders, mode 0600, whatever the umask and what was there")
    func write() throws {
        let path = folder.path + "/a/b/c.yaml"
        try FileSystem.write("one", to: path)
        #expect(FileSystem.state(of: path) == .regular(content: "one", mode: 0o600))
        chmod(path, 0o644)
        try FileSystem.write("two", to: path)
        #expect(FileSystem.state(of: path) == .regular(content: "two", mode: 0o600))
        #expect(FileSystem.names(in: folder.path + "/a/b") == ["c.yaml"])
    }

    @Test("a link is replaced, what it points to is not touched")
    func link() throws {
        let target = folder.path + "/target"
        try FileSystem.write("kept", to: target)
        let path = folder.path + "/link"
        symlink(target, path)
        #expect(FileSystem.state(of: path) == .other)
        try FileSystem.write("new", to: path)
        #expect(FileSystem.state(of: path) == .regular(content: "new", mode: 0o600))
        #expect(FileSystem.content(of: target) == "kept")
    }

    @Test("a failed write leaves what was there and nothing beside it")
    func failure() throws {
        let path = folder.path + "/d"
        try FileSystem.write("x", to: path + "/in the way")
        #expect(throws: FileError.self) { try FileSystem.write("y", to: path) }
        #expect(FileSystem.names(in: folder.path) == ["d"])
        #expect(throws: FileError.self) { try FileSystem.write("y", to: path + "/in the way/z") }
        #expect(throws: FileError(path: "/proc/k3s", operation: "write", code: ENOENT)) {
            try FileSystem.write("y", to: "/proc/k3s")
        }
    }

    @Test("a disk that is full keeps the old file whole")
    func fullDisk() throws {
        guard getuid() == 0 else { throw Missing(what: "root, to mount a small disk") }
        let disk = folder.path + "/disk"
        try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
        guard mount("tmpfs", disk, "tmpfs", 0, "size=16k") == 0 else {
            throw Missing(what: "mount of a tmpfs")
        }
        defer { umount(disk) }
        let path = disk + "/config.yaml"
        try FileSystem.write("old", to: path)
        let large = String(repeating: "x", count: 1 << 16)
        #expect(throws: FileError(path: path, operation: "write", code: ENOSPC)) {
            try FileSystem.write(large, to: path)
        }
        #expect(FileSystem.content(of: path) == "old")
        #expect(FileSystem.names(in: disk) == ["config.yaml"])
    }

    @Test("a file that is not there is removed already; large and special ones are not read")
    func edges() throws {
        try FileSystem.remove(folder.path + "/none")
        try FileSystem.remove(folder.path + "/none/at all")
        #expect(FileSystem.state(of: folder.path + "/none") == .missing)
        #expect(FileSystem.state(of: "/dev/zero") == .other)
        #expect(FileSystem.state(of: folder.path) == .other)
        let path = folder.path + "/large"
        try FileSystem.write(String(repeating: "x", count: 1 << 20 + 1), to: path)
        #expect(FileSystem.state(of: path) == .other)
        #expect(
            FileSystem.isProgram("/bin/sh") && !FileSystem.isProgram("/bin") && !FileSystem.isProgram(path))
    }

    @Test("what is set aside keeps its content and takes no other's place")
    func setAside() throws {
        let data = folder.path + "/data"
        var places: [String] = []
        for content in ["one", "two"] {
            try FileSystem.write(content, to: data + "/db/state")
            places.append(try #require(try FileSystem.setAside(data, suffix: ".old")))
            #expect(!FileSystem.exists(data))
        }
        #expect(places == [data + ".old", data + ".old.2"])
        #expect(places.map { FileSystem.content(of: $0 + "/db/state") } == ["one", "two"])
        let file = folder.path + "/file"
        try FileSystem.write("old", to: file + ".old")
        try FileSystem.write("new", to: file)
        #expect(try FileSystem.setAside(file, suffix: ".old") == file + ".old.2")
        #expect(FileSystem.content(of: file + ".old") == "old")
        #expect(FileSystem.content(of: file + ".old.2") == "new")
        #expect(try FileSystem.setAside(folder.path + "/none", suffix: ".old") == nil)
        #expect(!FileSystem.exists(folder.path + "/none.old"))
    }

    @Test("a folder can be set aside but for some of it")
    func setAsideKeeping() throws {
        let agent = folder.path + "/agent"
        for name in ["client.crt", "etc/lb.json", "images/a.tar"] {
            try FileSystem.write(name, to: agent + "/" + name)
        }
        let place = try #require(
            try FileSystem.setAside(agent, suffix: ".old", keeping: ["images", "containerd"]))
        #expect(FileSystem.names(in: agent) == ["images"])
        #expect(FileSystem.names(in: place) == ["client.crt", "etc"])
        #expect(FileSystem.content(of: place + "/etc/lb.json") == "etc/lb.json")
        #expect(try FileSystem.setAside(agent, suffix: ".old", keeping: ["images"]) == nil)
    }
}

/// What the machine lacks for a test.
struct Missing: Error {
    let what: String
}
