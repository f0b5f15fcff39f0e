/// What kube-vip is to do on the servers of a network without the VPN (contract/kairos.md §1.2, §3.5d).
package struct KubeVIP: Hashable, Sendable {
    /// Where the RBAC manifest comes from.
    package enum Access: Hashable, Sendable {
        /// This agent generates it.
        case builtIn
        /// It is to be fetched from this address; until then what is there stays.
        case awaited(from: String)
        case fetched(String)
    }

    /// The address that leads to a server: an IP address, or a name that leads to one.
    package var address: String
    /// The interface that carries the address.
    package var interface: String
    /// The image with its tag.
    package var image: String
    /// The version, which is the image's tag and a label.
    package var version: String
    /// Whether it runs as a pod of its own instead of a DaemonSet.
    package var isStaticPod: Bool
    /// Whether the manifests belong to the node's own pods instead of the cluster's manifests: stock's
    /// choice where `k3s-agent` is enabled.
    package var usesPodManifests: Bool
    /// Where the RBAC manifest comes from.
    package var access: Access
    /// kube-vip's own settings by the names of `kubevip.config`, as text.
    package var settings: [String: String]

    package init(
        address: String, interface: String, image: String = "ghcr.io/kube-vip/kube-vip",
        version: String = "v1.2.3", isStaticPod: Bool = false, usesPodManifests: Bool = false,
        access: Access = .builtIn, settings: [String: String] = [:]
    ) {
        self.address = address
        self.interface = interface
        self.image = "\(image):\(version)"
        self.version = version
        self.isStaticPod = isStaticPod
        self.usesPodManifests = usesPodManifests
        self.access = access
        self.settings = settings
    }

    /// Settings of `kubevip.config` that no variable is known for, sorted.
    package var unknownSettings: [String] {
        settings.keys.filter { KubeVIPVariable.named($0) == nil && !KubeVIPVariable.isForced($0) }.sorted()
    }
}

extension KubeVIP {
    /// The files of ours, with their paths under `layout`.
    package func files(in layout: K3sLayout) -> [DesiredState.File] {
        let paths = Self.paths(in: layout, podManifests: usesPodManifests)
        var files = [
            DesiredState.File(
                path: paths.workload, purpose: .manifest, content: KubeVIPManifest.workload(self))
        ]
        switch access {
        case .builtIn:
            files.append(.init(path: paths.access, purpose: .manifest, content: KubeVIPManifest.access))
        case .awaited: break
        case .fetched(let text):
            files.append(
                .init(path: paths.access, purpose: .manifest, content: KubeVIPManifest.header + text))
        }
        return files
    }

    /// The paths at which files of ours are wanted, whether or not their content is known by now.
    package func wantedPaths(in layout: K3sLayout) -> [String] {
        let paths = Self.paths(in: layout, podManifests: usesPodManifests)
        return [paths.workload, paths.access]
    }

    /// Every path at which a file of ours may be, for removing what is not wanted any more.
    package static func places(in layout: K3sLayout) -> [String] {
        [false, true].flatMap { podManifests in
            let paths = paths(in: layout, podManifests: podManifests)
            return [paths.workload, paths.access]
        }
    }

    /// Whether `content` is a manifest of this agent.
    package static func isOurs(_ content: String) -> Bool { content.hasPrefix(KubeVIPManifest.header) }

    private static func paths(in layout: K3sLayout, podManifests: Bool) -> (workload: String, access: String)
    {
        let folder = layout.dataFolder + (podManifests ? "/agent/pod-manifests" : "/server/manifests")
        return (folder + "/kubevip.yaml", folder + "/kubevipmanifest.yaml")
    }
}
