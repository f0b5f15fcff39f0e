#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// What a machine is called, before there is any mesh (contract/kairos.md §3.1).
package struct MachineIdentity: Hashable, Sendable {
    /// Why a machine has no name.
    package enum Problem: Error, Hashable, Sendable, CustomStringConvertible {
        /// None of the files that hold the machine ID is there with something in it.
        case noMachineID(files: [String])

        package var description: String {
            switch self {
            case .noMachineID(let files):
                "no machine ID in \(files.joined(separator: " or ")); make one with systemd-machine-id-setup, or"
                    + " set the environment variable UUID"
            }
        }
    }

    /// The host's name.
    package let hostName: String
    /// Kairos' name of the node: `UUID` of the environment, else `<machine-id>-<host name>`. It changes with
    /// either, so it is a label and nothing is derived from it.
    package let uuid: String

    /// Reads the identity of the machine whose files are under `root`.
    ///
    /// Under another root than `/` the host's name is that of `etc/hostname` there, if there is one: several
    /// nodes on one machine have different names.
    package init(root: String = "/", environment: [String: String]) throws(Problem) {
        let prefix = String(root.reversed().drop { $0 == "/" }.reversed())
        hostName =
            (prefix.isEmpty ? nil : Self.firstLine(of: prefix + "/etc/hostname")) ?? Self.kernelHostName()
        if let given = environment["UUID"], !given.isEmpty {
            uuid = given
            return
        }
        let files = ["/var/lib/dbus/machine-id", "/etc/machine-id"].map { prefix + $0 }
        guard let machineID = files.lazy.compactMap(Self.firstLine(of:)).first else {
            throw .noMachineID(files: files)
        }
        uuid = "\(machineID)-\(hostName)"
    }

    /// The first line of a small file, without white space around it; nil when there is none.
    private static func firstLine(of path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return nil }
        let line = buffer[..<count].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[0]
        guard let start = line.firstIndex(where: { $0 > 0x20 }),
            let end = line.lastIndex(where: { $0 > 0x20 })
        else { return nil }
        return String(decoding: line[start...end], as: UTF8.self)
    }

    private static func kernelHostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
