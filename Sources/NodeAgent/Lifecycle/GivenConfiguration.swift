internal import CloudConfig
internal import K3s

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension NodeConfiguration {
    /// The command that the cloud-config asks for by hand, in stock's order; nil when it asks for none.
    var givenCommand: K3sCommand? {
        if k3s.isEnabled { return .server }
        return k3sAgent.isEnabled ? .agent : nil
    }
}

extension KubeVIPConfiguration {
    /// What kube-vip is to do; nil when it is not wanted, or not enough is said.
    func deployment(of configuration: NodeConfiguration) -> KubeVIP? {
        guard isEnabled, let address, let interface = interface ?? Self.guessedInterface else { return nil }
        return KubeVIP(
            address: address, interface: interface, image: image, version: version, isStaticPod: staticPod,
            usesPodManifests: configuration.k3sAgent.isEnabled,
            access: manifestURL.map { .awaited(from: $0) } ?? .builtIn,
            settings: settings.map(Self.flattened) ?? [:])
    }

    /// What is asked for and not done, as warnings.
    func shortfalls(of configuration: NodeConfiguration) -> [String] {
        guard isEnabled else { return [] }
        guard address != nil else {
            return [
                "kubevip has no effect: kubevip.eip is missing, which is the address that leads to a server"
            ]
        }
        guard let deployment = deployment(of: configuration) else {
            return ["kubevip has no effect: no network interface was found; name it in kubevip.interface"]
        }
        var shortfalls: [String] = []
        if let manifestURL, ManifestDownload(url: manifestURL) == nil {
            shortfalls.append(
                "kubevip.manifest_url is no http or https address: put the manifest beside kubevip.yaml as"
                    + " kubevipmanifest.yaml, or remove the key for the built-in one")
        }
        for setting in deployment.unknownSettings {
            shortfalls.append("kubevip.config.\(setting) has no effect: kube-vip has no variable for it")
        }
        return shortfalls
    }

    /// The first interface that is not the loopback, in the kernel's order (contract/kairos.md §3.1).
    private static var guessedInterface: String? {
        guard let list = if_nameindex() else { return nil }
        defer { if_freenameindex(list) }
        var entry = list
        while entry.pointee.if_index != 0, let name = entry.pointee.if_name {
            let text = String(cString: name)
            if text != "lo" { return text }
            entry = entry.advanced(by: 1)
        }
        return nil
    }

    /// Every single value with its path: `kubernetesleaderelection.leaseduration`.
    private static func flattened(_ map: ConfigurationMap) -> [String: String] {
        var values: [String: String] = [:]
        for entry in map.entries {
            switch entry.value.content {
            case .scalar(let scalar): values[entry.key] = scalar.text
            case .map(let inner):
                for (name, value) in flattened(inner) { values["\(entry.key).\(name)"] = value }
            case .null, .list: break
            }
        }
        return values
    }
}
