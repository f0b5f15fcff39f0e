import Testing
import Yams

@testable import K3s

@Suite("kube-vip")
struct KubeVIPTests {
    private static let standard = KubeVIP(address: "192.168.1.110", interface: "ens18")

    private func objects(_ text: String) throws -> [[String: Any]] {
        try Yams.load_all(yaml: text).map { try #require($0 as? [String: Any]) }
    }

    private func value(_ object: Any?, _ path: [Any]) -> Any? {
        path.reduce(object) { object, key in
            if let key = key as? String { return (object as? [String: Any])?[key] }
            if let index = key as? Int, let list = object as? [Any], index < list.count { return list[index] }
            return nil
        }
    }

    private func environment(_ container: Any?) throws -> [(String, String?)] {
        let list = try #require(value(container, ["env"]) as? [[String: Any]])
        return try list.map { (try #require($0["name"] as? String), $0["value"] as? String) }
    }

    @Test("the DaemonSet is stock's: names, image, places, and variables in their order as strings")
    func daemonSet() throws {
        let files = Self.standard.files(in: K3sLayout())
        #expect(
            files.map(\.path) == [
                "/var/lib/rancher/k3s/server/manifests/kubevip.yaml",
                "/var/lib/rancher/k3s/server/manifests/kubevipmanifest.yaml",
            ])
        let object = try #require(try objects(files[0].content).first)
        #expect(object["apiVersion"] as? String == "apps/v1")
        #expect(object["kind"] as? String == "DaemonSet")
        #expect(value(object, ["metadata", "name"]) as? String == "kube-vip-ds")
        #expect(value(object, ["metadata", "namespace"]) as? String == "kube-system")
        let pod = value(object, ["spec", "template", "spec"])
        #expect(value(pod, ["hostNetwork"]) as? Bool == true)
        #expect(value(pod, ["serviceAccountName"]) as? String == "kube-vip")
        #expect(
            value(object, ["spec", "selector", "matchLabels", "app.kubernetes.io/name"]) as? String
                == value(object, ["spec", "template", "metadata", "labels", "app.kubernetes.io/name"])
                as? String)
        let container = value(pod, ["containers", 0])
        #expect(value(container, ["image"]) as? String == "ghcr.io/kube-vip/kube-vip:v1.2.3")
        #expect(value(container, ["args"]) as? [String] == ["manager"])
        #expect(
            value(container, ["securityContext", "capabilities", "add"]) as? [String]
                == ["NET_ADMIN", "NET_RAW"])
        let variables = try environment(container)
        #expect(
            variables.map(\.0) == [
                "vip_arp", "port", "vip_nodename", "vip_interface", "vip_subnet", "dhcp_backoff_attempts",
                "cp_enable", "cp_namespace", "vip_leaderelection", "vip_leasename", "vip_leaseduration",
                "vip_renewdeadline", "vip_retryperiod", "address", "prometheus_server", "debounce_time",
            ])
        #expect(
            variables.map(\.1) == [
                "true", "6443", nil, "ens18", "32", "0", "true", "", "true", "", "5", "3", "1",
                "192.168.1.110", ":2112", "",
            ])
        #expect(
            value(container, ["env", 2, "valueFrom", "fieldRef", "fieldPath"]) as? String == "spec.nodeName")
        let terms = value(
            pod,
            [
                "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                "nodeSelectorTerms",
            ])
        #expect((terms as? [Any])?.count == 2)
        #expect((value(pod, ["tolerations"]) as? [Any])?.count == 2)
    }

    @Test("a static pod has the same container, in the folder of the node's own pods where asked for")
    func staticPod() throws {
        var kubeVIP = Self.standard
        kubeVIP.isStaticPod = true
        kubeVIP.usesPodManifests = true
        let files = kubeVIP.files(in: K3sLayout(root: "/r"))
        #expect(files[0].path == "/r/var/lib/rancher/k3s/agent/pod-manifests/kubevip.yaml")
        let object = try #require(try objects(files[0].content).first)
        #expect(object["kind"] as? String == "Pod")
        #expect(value(object, ["metadata", "name"]) as? String == "kube-vip")
        #expect(try environment(value(object, ["spec", "containers", 0])).count == 16)
    }

    @Test("settings take the place of the standard ones or are added; forced and unknown ones are not taken")
    func settings() throws {
        var kubeVIP = Self.standard
        kubeVIP.settings = [
            "enableServices": "true", "kubernetesleaderelection.leaseduration": "15", "port": "7443",
            "interface": "eth9", "enableARP": "false", "nonsense": "1",
        ]
        #expect(kubeVIP.unknownSettings == ["nonsense"])
        let object = try objects(kubeVIP.files(in: K3sLayout())[0].content).first
        let variables = try environment(value(object, ["spec", "template", "spec", "containers", 0]))
        let values = Dictionary(uniqueKeysWithValues: variables)
        #expect(values["svc_enable"] == "true")
        #expect(values["vip_leaseduration"] == "15")
        #expect(values["port"] == "7443")
        #expect(values["vip_interface"] == "ens18")
        #expect(values["vip_arp"] == "true")
        #expect(variables.count == 17)
    }

    @Test("a hostile address stays one string")
    func hostile() throws {
        var kubeVIP = Self.standard
        kubeVIP.address = "a\"\n- name: evil"
        let object = try objects(kubeVIP.files(in: K3sLayout())[0].content).first
        let variables = try environment(value(object, ["spec", "template", "spec", "containers", 0]))
        #expect(variables.contains { $0.0 == "address" && $0.1 == kubeVIP.address })
        #expect(variables.count == 16)
    }

    @Test("the access manifest is an account, a role and their binding, and is left to the operator if asked")
    func access() throws {
        let kinds = try objects(KubeVIPManifest.access).map { $0["kind"] as? String }
        #expect(kinds == ["ServiceAccount", "ClusterRole", "ClusterRoleBinding"])
        var kubeVIP = Self.standard
        kubeVIP.access = .awaited(from: "https://kube-vip.io/manifests/rbac.yaml")
        #expect(kubeVIP.files(in: K3sLayout()).count == 1)
        kubeVIP.access = .fetched("apiVersion: v1\nkind: ServiceAccount\n")
        let fetched = try #require(kubeVIP.files(in: K3sLayout()).last)
        #expect(fetched.path.hasSuffix("/kubevipmanifest.yaml") && KubeVIP.isOurs(fetched.content))
        #expect(try objects(fetched.content).map { $0["kind"] as? String } == ["ServiceAccount"])
    }

    private func state(_ role: K3sRole, kubeVIP: KubeVIP?) throws -> DesiredState {
        try DesiredState(
            role: role,
            facts: NodeFacts(name: NodeName(previous: "node", hostName: "node", peerID: [1]), network: nil),
            supervision: .childProcess, kubeVIP: kubeVIP)
    }

    @Test("servers have the manifests, agents do not; they are removed only if they are ours")
    func plan() throws {
        let token = try ClusterToken("K10abc::server:def")
        let server = try state(
            .server(.init(server: try ServerURL("https://x:6443"), token: token)), kubeVIP: Self.standard)
        #expect(server.manifests.count == 2)
        let agent = try state(
            .agent(.init(server: try ServerURL("https://x:6443"), token: token)), kubeVIP: Self.standard)
        #expect(agent.manifests.isEmpty)
        #expect(Set(server.manifests.map(\.path)).isSubset(of: agent.absentManifests))

        let idle = ServiceStatus(activity: .inactive)
        var observation = Observation(own: idle, other: idle)
        observation.files[server.manifests[0].path] = .regular(
            content: server.manifests[0].content, mode: 0o600)
        observation.files[server.manifests[1].path] = .regular(content: "kind: Mine\n", mode: 0o600)
        let plan = Plan(from: observation, to: agent, applied: nil, mayStart: true)
        #expect(plan.actions.contains(.remove(path: server.manifests[0].path)))
        #expect(!plan.actions.contains(.remove(path: server.manifests[1].path)))
    }

    @Test("while a manifest is awaited, the one that is there stays")
    func awaited() throws {
        let token = try ClusterToken("K10abc::server:def")
        var kubeVIP = Self.standard
        kubeVIP.access = .awaited(from: "http://x/")
        let server = try state(
            .server(.init(server: try ServerURL("https://x:6443"), token: token)), kubeVIP: kubeVIP)
        #expect(server.manifests.count == 1)
        #expect(server.absentManifests.allSatisfy { $0.contains("/agent/pod-manifests/") })
    }

    @Test("what K3s is started with does not depend on the manifests, so they restart nothing")
    func fingerprint() throws {
        let token = try ClusterToken("K10abc::server:def")
        let role = K3sRole.server(.init(server: try ServerURL("https://x:6443"), token: token))
        #expect(
            try state(role, kubeVIP: nil).fingerprint == state(role, kubeVIP: Self.standard).fingerprint)
    }

    @Test("K3s as given has the user's words and nothing else")
    func asGiven() throws {
        var settings = UserSettings()
        settings.server.arguments = ["--disable=traefik"]
        settings.server.environment = ["K3S_TOKEN": "x"]
        settings.server.replacesArguments = true
        let desired = try DesiredState(
            role: .asGiven(.server),
            facts: NodeFacts(name: NodeName(previous: "node", hostName: "node", peerID: [1]), network: nil),
            settings: settings, supervision: .childProcess)
        #expect(desired.arguments == ["server", "--disable=traefik"])
        #expect(desired.environment.variables == ["K3S_TOKEN": "x"])
        #expect(desired.config.entries.isEmpty)
    }
}
