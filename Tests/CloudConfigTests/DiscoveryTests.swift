import Foundation
import Testing

@testable import CloudConfig

@Suite("Finding files")
struct DiscoveryTests {
    @Test("the default directories are those of the Kairos agent, under the root, the later over the earlier")
    func order() throws {
        try withDirectory { root in
            for (directory, value) in [
                ("run/initramfs/live", "live"), ("etc/kairos", "etc"), ("usr/local/cloud-config", "local"),
                ("oem", "oem"),
            ] {
                try write(
                    "#cloud-config\nhostname: \(value)\nk3s: {args: [\(value)]}",
                    to: "\(root)/\(directory)/a.yaml")
            }
            let configuration = try NodeConfiguration.load(root: root)
            #expect(configuration.hostname == "oem")
            #expect(configuration.k3s.arguments == ["live", "etc", "local", "oem"])
            #expect(
                configuration.sources.map { $0.dropFirst(root.count) } == [
                    "/run/initramfs/live/a.yaml", "/etc/kairos/a.yaml", "/usr/local/cloud-config/a.yaml",
                    "/oem/a.yaml",
                ])
        }
    }

    @Test("a root may end with slashes, and / is the machine itself")
    func roots() {
        #expect(Discovery(root: "/tmp/x//").directories.last == "/tmp/x/oem")
        #expect(Discovery(root: "/").directories == Discovery.defaultDirectories)
    }

    @Test("directories that are named replace the default ones, in their order")
    func explicit() throws {
        try withDirectory { root in
            try write("#cloud-config\nhostname: a", to: "\(root)/one/a.yaml")
            try write("#cloud-config\nhostname: b", to: "\(root)/two/a.yaml")
            #expect(
                try NodeConfiguration.load(root: root, directories: ["\(root)/two", "\(root)/one"]).hostname
                    == "a")
        }
    }

    @Test("a directory that is named and is not there is an error; a default one may be missing")
    func missingDirectory() throws {
        try withDirectory { root in
            let failure = #expect(throws: ConfigurationFailure.self) {
                try Discovery(root: root, directories: ["\(root)/nowhere"]).scan()
            }
            #expect(failure?.exitCode == 66)
            #expect(failure?.description.contains("nowhere") == true)
            let found = try Discovery(root: root).scan()
            #expect(found.files.isEmpty)
        }
    }

    @Test("no file at all is a configuration error that names the directories")
    func nothing() throws {
        try withDirectory { root in
            let failure = #expect(throws: ConfigurationFailure.self) {
                try NodeConfiguration.load(root: root)
            }
            #expect(failure?.exitCode == 78)
            #expect(failure?.description.contains("\(root)/oem") == true)
        }
    }

    @Test("the walk is recursive and lexical, takes .yaml and .yml, and nothing else")
    func walk() throws {
        try withDirectory { root in
            for name in [
                "b.yaml", "a/z.yml", "a/b/c.yaml", "c.yaml", "90.yaml", "d.txt", "e.YAML", "f.yaml.bak",
                "A.yaml",
            ] {
                try write("#cloud-config\n", to: "\(root)/oem/\(name)")
            }
            let files = try Discovery(root: root).scan().files.map { $0.path.dropFirst(root.count + 5) }
            #expect(files == ["90.yaml", "A.yaml", "a/b/c.yaml", "a/z.yml", "b.yaml", "c.yaml"])
        }
    }

    @Test("links to files are followed; links to directories, broken links and pipes are passed over")
    func links() throws {
        try withDirectory { root in
            try write("#cloud-config\n", to: "\(root)/real.yaml")
            try write("#cloud-config\n", to: "\(root)/oem/a.yaml")
            let files = FileManager.default
            try files.createSymbolicLink(
                atPath: "\(root)/oem/b.yaml", withDestinationPath: "\(root)/real.yaml")
            try files.createSymbolicLink(atPath: "\(root)/oem/loop", withDestinationPath: "\(root)/oem")
            try files.createSymbolicLink(atPath: "\(root)/oem/c.yaml", withDestinationPath: "/nowhere")
            #expect(mkfifo("\(root)/oem/d.yaml", 0o600) == 0)
            let found = try Discovery(root: root).scan().files.map { $0.path.dropFirst(root.count + 5) }
            #expect(found == ["a.yaml", "b.yaml"])
        }
    }

    @Test(
        "a header is an exact line within the first ten, trailing white space aside",
        arguments: [
            ("#cloud-config", true), ("#cloud-config  \t\r\nx: 1", true), ("#kairos-config\n", true),
            ("#node-config\n", true), ("# comment\n\n#cloud-config\n", true),
            (String(repeating: "\n", count: 9) + "#cloud-config", true),
            (String(repeating: "\n", count: 10) + "#cloud-config", false), (" #cloud-config\n", false),
            ("#cloud-config x\n", false), ("# cloud-config\n", false), ("#cloud-configs\n", false),
            ("#Cloud-Config\n", false), ("x: 1\n#cloud-config\n", true), ("", false), ("p2p: {}\n", false),
        ])
    func header(text: String, valid: Bool) {
        #expect(SourceFile.hasHeader(Array(text.utf8)) == valid)
    }

    @Test("a file without a header is left out with a warning that says where and why")
    func missingHeader() throws {
        try withDirectory { root in
            try write("hostname: a\n", to: "\(root)/oem/a.yaml")
            try write("#cloud-config\nhostname: b\n", to: "\(root)/oem/b.yaml")
            let configuration = try NodeConfiguration.load(root: root)
            #expect(configuration.hostname == "b")
            #expect(configuration.warnings.map(\.kind) == [.missingHeader])
            #expect(
                configuration.warnings.first?.description.hasPrefix("\(root)/oem/a.yaml:1:1: no header; ")
                    == true)
        }
    }

    @Test("a file of more than 1 MiB is left out with a warning; one of exactly 1 MiB is read")
    func size() throws {
        try withDirectory { root in
            let header = "#cloud-config\n"
            let filler = String(repeating: "#", count: SourceFile.maximumSize - header.utf8.count)
            try write(header + filler, to: "\(root)/oem/a.yaml")
            try write(header + filler + "#", to: "\(root)/oem/b.yaml")
            let result = try Discovery(root: root).scan()
            #expect(result.files.map(\.path) == ["\(root)/oem/a.yaml"])
            #expect(result.warnings.map(\.kind) == [.tooLarge(bytes: SourceFile.maximumSize + 1)])
        }
    }

    @Test("a file with a header that is not UTF-8 is an error at the bad byte")
    func notUTF8() throws {
        try withDirectory { root in
            try FileManager.default.createDirectory(atPath: "\(root)/oem", withIntermediateDirectories: true)
            try Data("#cloud-config\nhostname: ż".utf8 + [0xFF, 0x41]).write(
                to: URL(fileURLWithPath: "\(root)/oem/a.yaml"))
            let failure = #expect(throws: ConfigurationFailure.self) {
                try NodeConfiguration.load(root: root)
            }
            #expect(failure?.problems.map(\.kind) == [.notUTF8])
            #expect(
                failure?.problems.first?.position
                    == SourcePosition(file: "\(root)/oem/a.yaml", line: 2, column: 12))
            #expect(failure?.exitCode == 65)
        }
    }

    @Test("a file that cannot be read is an error, and what it says is the system's reason")
    func unreadable() throws {
        #expect(throws: ConfigurationProblem.self) { try SourceFile(reading: "/nowhere/a.yaml") }
        do throws(ConfigurationProblem) {
            _ = try SourceFile(reading: "/nowhere/a.yaml")
        } catch {
            #expect(error.kind == .unreadable(reason: "No such file or directory"))
            #expect(ConfigurationFailure([error]).exitCode == 66)
        }
        do throws(ConfigurationProblem) {
            _ = try SourceFile(reading: "/tmp")
        } catch {
            #expect(error.kind == .unreadable(reason: "it is not a regular file"))
        }
    }
}

/// Runs `body` with a directory of its own that is removed afterwards.
func withDirectory(_ body: (String) throws -> Void) throws {
    let path = NSTemporaryDirectory() + "cloud-config-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
}

/// Writes `text` to `path`, whose folder is made.
func write(_ text: String, to path: String) throws {
    let file = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(
        at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
}
