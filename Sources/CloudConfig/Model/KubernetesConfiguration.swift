/// One of the blocks `k3s`, `k3s-agent`, `k0s` and `k0s-worker` (contract/kairos.md §1.2).
package struct KubernetesConfiguration: Hashable, Sendable {
    /// Whether this distribution and role are chosen by hand; nil is unset, which counts as no.
    package var enabled: Bool?
    /// The user's arguments, appended to the generated ones.
    package var arguments: [String] = []
    /// The user's environment, laid over the generated one.
    package var environment = EnvironmentVariables()
    /// Whether the user's arguments replace the generated ones.
    package var replacesArguments = false
    /// Whether the user's environment replaces the generated one.
    package var replacesEnvironment = false
    /// Whether servers run K3s' embedded registry mirror. k0s has none.
    package var embeddedRegistry = false

    package init() {}

    /// Whether it is chosen by hand: explicitly true.
    package var isEnabled: Bool { enabled == true }

    init(_ reader: MapReader?, hasRegistry: Bool) {
        guard let reader else { return }
        enabled = reader.boolean("enabled")
        arguments = reader.texts("args")
        environment = reader.environment("env")
        replacesArguments = reader.boolean("replace_args") ?? false
        replacesEnvironment = reader.boolean("replace_env") ?? false
        if hasRegistry { embeddedRegistry = reader.boolean("embedded_registry") ?? false }
        reader.warnAboutUnknownKeys()
    }
}

/// The block `kubevip`: one address for the API servers on a plain LAN (contract/kairos.md §1.2).
package struct KubeVIPConfiguration: Hashable, Sendable {
    /// Whether kube-vip is deployed; nil leaves it to whether there is an address.
    package var enable: Bool?
    /// The address that leads to a server.
    package var address: String?
    /// Where the RBAC manifest comes from instead of the built-in one.
    package var manifestURL: String?
    /// The interface that carries the address; the first one that is not `lo` otherwise.
    package var interface: String?
    /// Whether it runs as a static pod; as a DaemonSet otherwise.
    package var staticPod = false
    /// The version of the image.
    package var version = "v1.2.3"
    /// The image without its tag.
    package var image = "ghcr.io/kube-vip/kube-vip"
    /// kube-vip's own settings, as they are written.
    package var settings: ConfigurationMap?

    package init() {}

    /// Whether kube-vip is deployed: when asked for, or when there is an address and nobody says no.
    package var isEnabled: Bool { enable ?? (address != nil) }

    init(_ reader: MapReader?) {
        guard let reader else { return }
        enable = reader.boolean("enable")
        address = reader.parsed("eip", accepted: "an IP address, or a name that leads to one,") {
            $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } ? $0 : nil
        }
        manifestURL = reader.text("manifest_url").nonEmpty
        interface = reader.parsed("interface", accepted: InterfaceName.accepted, by: InterfaceName.valid)
        staticPod = reader.boolean("static_pod") ?? false
        version = reader.text("version").nonEmpty ?? version
        image = reader.text("image").nonEmpty ?? image
        if reader.map("config") != nil { settings = reader.raw("config")?.map }
        reader.warnAboutUnknownKeys()
    }
}

/// Names of network interfaces, by the kernel's rules.
enum InterfaceName {
    static let accepted = "an interface name of 1 to 15 characters without white space and slashes"

    /// `text` when the kernel takes it as a name.
    static func valid(_ text: String) -> String? {
        guard (1...15).contains(text.utf8.count), text != ".", text != "..",
            text.utf8.allSatisfy({
                $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
            })
        else { return nil }
        return text
    }
}

extension Optional where Wrapped == String {
    /// The text unless it is empty.
    var nonEmpty: String? { self.flatMap { $0.isEmpty ? nil : $0 } }
}
