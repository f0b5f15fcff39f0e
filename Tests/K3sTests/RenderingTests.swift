internal import Testing

@testable import K3s

@Suite("What each role writes")
struct RenderingTests {
    @Test("a founding server gets addresses, names and a token, and stays on SQLite unless HA is asked for")
    func foundingServer() throws {
        try Golden.expect(Golden.text(of: Sample.state(Sample.founding())), "founding-server")
    }

    @Test("a founding server of an HA cluster starts embedded etcd")
    func foundingServerHighlyAvailable() throws {
        try Golden.expect(
            Golden.text(of: Sample.state(Sample.founding(highlyAvailable: true))), "founding-server-ha")
    }

    @Test("a founder that knows a second server would rejoin instead of founding again")
    func foundingServerWithStandby() throws {
        let role = try Sample.founding(highlyAvailable: true, standby: "https://10.1.0.2:6443")
        try Golden.expect(Golden.text(of: Sample.state(role)), "founding-server-standby")
    }

    @Test("an external datastore takes the place of server and cluster-init")
    func externalDatastore() throws {
        let role = try Sample.founding(
            highlyAvailable: true, datastore: "postgres://k3s:secret@10.1.0.5:5432/k3s")
        try Golden.expect(Golden.text(of: Sample.state(role)), "founding-server-datastore")
    }

    @Test("a joining server names the server and the token")
    func joiningServer() throws {
        try Golden.expect(
            Golden.text(of: Sample.state(.server(Sample.join()), facts: Sample.facts("10.1.0.12"))),
            "joining-server")
    }

    @Test("an agent gets only keys that an agent knows")
    func agent() throws {
        try Golden.expect(
            Golden.text(of: Sample.state(.agent(Sample.join()), facts: Sample.facts("10.1.0.21"))), "agent")
    }

    @Test("the user's arguments and variables reach the unit, each quoted for systemd")
    func userSettings() throws {
        let block = UserSettings.Block(
            arguments: [
                "--disable=traefik", "--node-label site=a", "--kubelet-arg=eviction-hard=memory.available<5%",
                "--tls-san=k8s.example.org", "--node-taint='a=$b:NoSchedule'",
            ],
            environment: ["HTTP_PROXY": "http://proxy:3128", "PASSWORD": "a!b$c\"d\\e`f\ng"],
            embeddedRegistry: true)
        try Golden.expect(Golden.text(of: Sample.state(Sample.founding(), server: block)), "user-settings")
    }

    @Test("replace_args and replace_env leave only the join data of what is generated")
    func replaced() throws {
        let block = UserSettings.Block(
            arguments: ["--node-ip=192.168.1.5", "--flannel-iface=eth0"], environment: ["A": "b"],
            replacesArguments: true, replacesEnvironment: true)
        try Golden.expect(
            Golden.text(of: Sample.state(.agent(Sample.join()), agent: block)), "agent-replaced")
    }

    @Test("below a root everything is below it, and K3s is told so by argument and variable")
    func belowRoot() throws {
        let state = try Sample.state(
            .agent(Sample.join()), layout: K3sLayout(root: "/tmp/node1/"), supervision: .childProcess)
        let launch = state.launch(binary: "/usr/bin/k3s")
        var text = Golden.text(of: state) + "=== launch\n\(launch.program)\n" + launch.logFile + "\n"
        for (name, value) in launch.environment.sorted(by: { $0.key < $1.key }) {
            text += "\(name)=\(value)\n"
        }
        try Golden.expect(text, "agent-below-root")
    }

    @Test("Kubernetes off the VPN keeps its own choice of address")
    func withoutNetwork() throws {
        var facts = try Sample.facts()
        facts.network = nil
        let state = try Sample.state(Sample.founding(), facts: facts)
        for name in ["node-ip", "flannel-iface", "advertise-address"] { #expect(state.config[name] == nil) }
        #expect(
            state.files(binary: "/usr/bin/k3s").allSatisfy { !$0.content.contains("/sys/class/net") })
    }
}
