internal import Yams

/// kube-vip's manifests, as stock Kairos generates them (contract/kairos.md §3.5d).
enum KubeVIPManifest {
    /// The first line of every manifest of ours: what does not begin with it is somebody else's.
    static let header = "# Written by kairos-agent from the block kubevip of the cloud-config.\n"

    /// The DaemonSet, or the pod.
    static func workload(_ kubeVIP: KubeVIP) -> String {
        let name = kubeVIP.isStaticPod ? "kube-vip" : "kube-vip-ds"
        let labels: Node = [
            "app.kubernetes.io/name": text(name), "app.kubernetes.io/version": text(kubeVIP.version),
        ]
        var spec: [(String, Node)] = [
            ("containers", .sequence(.init([container(kubeVIP)]))),
            ("hostNetwork", .scalar(.init("true", Tag(.bool)))),
            ("serviceAccountName", "kube-vip"),
        ]
        let document: Node
        if kubeVIP.isStaticPod {
            document = map([
                ("apiVersion", "v1"), ("kind", "Pod"),
                ("metadata", map([("name", text(name)), ("namespace", "kube-system"), ("labels", labels)])),
                ("spec", map(spec)),
            ])
        } else {
            spec += [("affinity", affinity), ("tolerations", tolerations)]
            document = map([
                ("apiVersion", "apps/v1"), ("kind", "DaemonSet"),
                ("metadata", map([("name", text(name)), ("namespace", "kube-system"), ("labels", labels)])),
                (
                    "spec",
                    map([
                        ("selector", ["matchLabels": labelsOfSelector(name)]),
                        ("template", map([("metadata", ["labels": labels]), ("spec", map(spec))])),
                        ("updateStrategy", ["type": "RollingUpdate"]),
                    ])
                ),
            ])
        }
        return header + rendered([document])
    }

    /// The account that kube-vip runs as, and what it may do.
    static let access =
        header
        + rendered([
            map([
                ("apiVersion", "v1"), ("kind", "ServiceAccount"),
                ("metadata", map([("name", "kube-vip"), ("namespace", "kube-system")])),
            ]),
            map([
                ("apiVersion", "rbac.authorization.k8s.io/v1"), ("kind", "ClusterRole"),
                (
                    "metadata",
                    map([
                        ("annotations", ["rbac.authorization.kubernetes.io/autoupdate": text("true")]),
                        ("name", "system:kube-vip-role"),
                    ])
                ),
                (
                    "rules",
                    .sequence(
                        .init([
                            rule([""], ["services/status"], ["update"]),
                            rule(
                                [""], ["services", "endpoints"],
                                ["list", "get", "watch", "update"]),
                            rule([""], ["nodes"], ["list", "get", "watch", "update", "patch"]),
                            rule(
                                ["coordination.k8s.io"], ["leases"],
                                ["list", "get", "watch", "update", "create"]),
                            rule(
                                ["discovery.k8s.io"], ["endpointslices"], ["list", "get", "watch", "update"]),
                        ]))
                ),
            ]),
            map([
                ("apiVersion", "rbac.authorization.k8s.io/v1"), ("kind", "ClusterRoleBinding"),
                ("metadata", ["name": "system:kube-vip-binding"]),
                (
                    "roleRef",
                    map([
                        ("apiGroup", "rbac.authorization.k8s.io"), ("kind", "ClusterRole"),
                        ("name", "system:kube-vip-role"),
                    ])
                ),
                (
                    "subjects",
                    [map([("kind", "ServiceAccount"), ("name", "kube-vip"), ("namespace", "kube-system")])]
                ),
            ]),
        ])

    // MARK: parts

    private static func container(_ kubeVIP: KubeVIP) -> Node {
        map([
            ("name", "kube-vip"), ("image", text(kubeVIP.image)), ("imagePullPolicy", "IfNotPresent"),
            ("args", ["manager"]), ("env", .sequence(.init(environment(kubeVIP)))),
            (
                "securityContext",
                ["capabilities": map([("add", ["NET_ADMIN", "NET_RAW"]), ("drop", ["ALL"])])]
            ),
        ])
    }

    /// The variables in stock's order, what the operator sets in their place, then the operator's others.
    private static func environment(_ kubeVIP: KubeVIP) -> [Node] {
        var given: [String: String] = [:]
        for (setting, value) in kubeVIP.settings {
            if let variable = KubeVIPVariable.named(setting) { given[variable.name] = value }
        }
        let nodeName = map([
            ("name", "vip_nodename"), ("valueFrom", ["fieldRef": ["fieldPath": "spec.nodeName"]]),
        ])
        var variables: [Node] = []
        for (name, value) in standard(kubeVIP) {
            if name == "vip_nodename" {
                variables.append(nodeName)
            } else {
                variables.append(variable(name, given.removeValue(forKey: name) ?? value))
            }
        }
        for (name, value) in given.sorted(by: { $0.key < $1.key }) { variables.append(variable(name, value)) }
        return variables
    }

    private static func standard(_ kubeVIP: KubeVIP) -> [(String, String)] {
        [
            ("vip_arp", "true"), ("port", "6443"), ("vip_nodename", ""), ("vip_interface", kubeVIP.interface),
            ("vip_subnet", "32"), ("dhcp_backoff_attempts", "0"), ("cp_enable", "true"), ("cp_namespace", ""),
            ("vip_leaderelection", "true"), ("vip_leasename", ""), ("vip_leaseduration", "5"),
            ("vip_renewdeadline", "3"), ("vip_retryperiod", "1"), ("address", kubeVIP.address),
            ("prometheus_server", ":2112"), ("debounce_time", ""),
        ]
    }

    private static func variable(_ name: String, _ value: String) -> Node {
        map([("name", text(name)), ("value", text(value))])
    }

    private static var affinity: Node {
        [
            "nodeAffinity": [
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    "nodeSelectorTerms": [
                        ["matchExpressions": [exists("node-role.kubernetes.io/master")]],
                        ["matchExpressions": [exists("node-role.kubernetes.io/control-plane")]],
                    ]
                ]
            ]
        ]
    }

    private static func exists(_ label: String) -> Node {
        map([("key", text(label)), ("operator", "Exists")])
    }

    private static var tolerations: Node {
        [
            map([("effect", "NoSchedule"), ("operator", "Exists")]),
            map([("effect", "NoExecute"), ("operator", "Exists")]),
        ]
    }

    private static func labelsOfSelector(_ name: String) -> Node { ["app.kubernetes.io/name": text(name)] }

    private static func rule(_ groups: [String], _ resources: [String], _ verbs: [String]) -> Node {
        map([
            ("apiGroups", list(groups)), ("resources", list(resources)), ("verbs", list(verbs)),
        ])
    }

    // MARK: YAML

    private static func map(_ entries: [(String, Node)]) -> Node {
        .mapping(.init(entries.map { (Node($0.0), $0.1) }))
    }

    private static func list(_ texts: [String]) -> Node { .sequence(.init(texts.map(text))) }

    /// A string whatever it looks like: the values of variables must be strings for Kubernetes.
    private static func text(_ text: String) -> Node {
        .scalar(.init(text, Tag(.str), .doubleQuoted))
    }

    private static func rendered(_ documents: [Node]) -> String {
        documents.map { document in
            // Nodes of maps, lists and scalars always have a text.
            (try? Yams.serialize(node: document, sortKeys: false)) ?? ""
        }.joined(separator: "---\n")
    }
}
