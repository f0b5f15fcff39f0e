#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// The value of a node's entry in the bucket `machines` (contract/wire.md J.8).
package struct MachineEntry: Hashable, Sendable {
    /// The ledger's bucket that holds the machine entries.
    package static let bucket = "machines"

    /// What our nodes' `version` starts with. A node whose version starts otherwise is taken for a
    /// stock one, which never gives an address up.
    package static let implementation = "kairos-agent/"

    /// The node's peer ID in base58.
    package var peerID: String
    package var hostname: String
    /// Go's name of the operating system: `linux`.
    package var operatingSystem: String
    /// Go's name of the architecture: `amd64`, `arm64`.
    package var architecture: String
    package var address: VirtualAddress
    /// The version text; ours start with `MachineEntry.implementation`.
    package var version: String

    package init(
        peerID: String, hostname: String, operatingSystem: String = "linux",
        architecture: String = MachineEntry.localArchitecture, address: VirtualAddress, version: String
    ) {
        self.peerID = peerID
        self.hostname = hostname
        self.operatingSystem = operatingSystem
        self.architecture = architecture
        self.address = address
        self.version = version
    }

    /// Go's name of the architecture that this program was built for.
    package static var localArchitecture: String {
        #if arch(x86_64)
        "amd64"
        #elseif arch(arm64)
        "arm64"
        #elseif arch(riscv64)
        "riscv64"
        #else
        "unknown"
        #endif
    }

    /// Reads a value text. Nil when it is not such an object, is longer than 4 KiB, or holds an
    /// address that is not an IPv4 one.
    package init?(value: String) {
        guard value.utf8.count <= 4096,
            let fields = try? JSONDecoder().decode(Fields.self, from: Data(value.utf8)),
            let address = VirtualAddress(fields.Address)
        else { return nil }
        self.init(
            peerID: fields.PeerID, hostname: fields.Hostname ?? "", operatingSystem: fields.OS ?? "",
            architecture: fields.Arch ?? "", address: address, version: fields.Version ?? "")
    }

    /// The value text exactly as Go writes it, keys in its order. Written by hand because the text
    /// is what gets signed and compared: another escaping would be another entry.
    package var value: String {
        var text = "{"
        func append(_ key: String, _ value: String) {
            if text.utf8.count > 1 { text += "," }
            text += "\"\(key)\":\""
            Self.escape(value, into: &text)
            text += "\""
        }
        append("PeerID", peerID)
        append("Hostname", hostname)
        append("OS", operatingSystem)
        append("Arch", architecture)
        append("Address", address.description)
        append("Version", version)
        return text + "}"
    }

    /// Escapes as Go's encoding/json does, HTML characters included.
    private static func escape(_ value: String, into text: inout String) {
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{8}": text += "\\b"
            case "\u{c}": text += "\\f"
            case "<", ">", "&", "\u{2028}", "\u{2029}", "\u{0}"..<"\u{20}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
    }

    // The names are the wire's.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    private struct Fields: Decodable {
        let PeerID: String
        let Hostname: String?
        let OS: String?
        let Arch: String?
        let Address: String
        let Version: String?
    }
}
