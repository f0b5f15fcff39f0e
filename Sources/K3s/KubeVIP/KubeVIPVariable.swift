/// The variables that kube-vip reads, and the names of the same settings in `kubevip.config`
/// (kube-vip's `Config` as yaml.v3 reads it: fields without a tag in lower case, embedded ones in a map).
struct KubeVIPVariable: Hashable {
    /// The setting's name, with dots for maps.
    let setting: String
    /// The variable's name.
    let name: String

    /// The variable of a setting; nil when there is none or the agent sets it itself.
    static func named(_ setting: String) -> KubeVIPVariable? { bySetting[setting] }

    /// Whether the agent sets it, whatever the operator says: interface, address, and that there is a control
    /// plane, found by ARP and led by one node.
    static func isForced(_ setting: String) -> Bool { forced.contains(setting) }

    private static let forced: Set<String> = [
        "interface", "address", "enableControlPlane", "enableARP",
        "kubernetesleaderelection.enableLeaderElection",
    ]

    private static let bySetting = Dictionary(
        uniqueKeysWithValues: table.map { ($0.0, KubeVIPVariable(setting: $0.0, name: $0.1)) })

    private static let table: [(String, String)] = [
        ("logging", "vip_loglevel"), ("port", "port"), ("vipSubnet", "vip_subnet"),
        ("namespace", "cp_namespace"), ("ddns", "vip_ddns"), ("detectControlPlane", "cp_detect"),
        ("kubernetesAddr", "kubernetes_addr"),
        ("kubernetesleaderelection.leaseName", "vip_leasename"),
        ("kubernetesleaderelection.leaseduration", "vip_leaseduration"),
        ("kubernetesleaderelection.renewdeadline", "vip_renewdeadline"),
        ("kubernetesleaderelection.retryperiod", "vip_retryperiod"),
        ("arpBroadcastRate", "vip_arpRate"), ("enableServices", "svc_enable"),
        ("serviceNamespace", "svc_namespace"), ("enableServicesElection", "svc_election"),
        ("servicesLeaseName", "svc_leasename"), ("servicesInterface", "vip_servicesinterface"),
        ("enableNodeLabeling", "enable_node_labeling"), ("lbClassOnly", "lb_class_only"),
        ("lbClassName", "lb_class_name"), ("lbClassNameLegacyHandling", "lb_class_legacy_handling"),
        ("EnableServiceSecurity", "enable_service_security"), ("enableLoadBalancer", "lb_enable"),
        ("lbPort", "lb_port"), ("lbForwardingMethod", "lb_fwdmethod"),
        ("prometheusHTTPServer", "prometheus_server"), ("dnsDualStackMode", "dns_mode"),
        ("disableServiceUpdates", "disable_service_updates"), ("enableEndpoints", "enable_endpoints"),
        ("mirrorDestInterface", "mirror_dest_interface"), ("iptablesBackend", "iptables_backend"),
        ("backendHealthCheckInterval", "backend_health_check_interval"),
        ("loInterfaceGlobalScope", "vip_interfaceloglobal"), ("healthCheckPort", "health_check_port"),
        ("enableUPNP", "enable_upnp"), ("egressClean", "egress_clean"), ("egresspodcidr", "egress_podcidr"),
        ("egressservicecidr", "egress_servicecidr"), ("egresswithnftables", "egress_withnftables"),
        ("k8sConfigFile", "k8s_config_file"),
    ]
}
