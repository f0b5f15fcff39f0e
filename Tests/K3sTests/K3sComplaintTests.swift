import Testing

@testable import K3s

@Suite("what K3s complains of")
struct K3sComplaintTests {
    @Test(
        "lines as K3s writes them are told apart, the newest counts",
        arguments: [
            (
                "level=fatal msg=\"starting kubernetes: preparing server: bootstrap data already found and encrypted"
                    + " with different token\"", K3sComplaint.anotherToken
            ),
            (
                "level=error msg=\"token CA hash does not match the Cluster CA certificate hash: 1a != 2b\"",
                .anotherCA
            ),
            (
                "level=fatal msg=\"starting kubernetes: preparing server: failed to validate server configuration:"
                    + " critical configuration value mismatch between servers\"", .differingSettings
            ),
            (
                "level=error msg=\"Node password rejected, duplicate hostname or contents of"
                    + " '/etc/rancher/node/password' may not match server node-passwd entry\"", .nodePassword
            ),
            (
                "level=fatal msg=\"etcd cluster join failed: duplicate node name found, please use a unique name\"",
                .duplicateName
            ),
            ("level=fatal msg=\"flag provided but not defined: -disable\"", .unknownFlag),
            (
                "level=info msg=\"Failed to test data store connection: this server is a not a member of the etcd"
                    + " cluster. Found [a=https://10.1.0.3:2380], expect: a=https://10.1.0.4:2380\"",
                .notAMember
            ),
            ("level=fatal msg=\"listen tcp :6443: bind: address already in use\"", .portTaken),
            ("level=error msg=\"write /var/lib/rancher/k3s/x: no space left on device\"", .diskFull),
        ])
    func known(line: String, complaint: K3sComplaint) {
        #expect(K3sComplaint(lines: ["address already in use", line, "k3s.service: Failed"]) == complaint)
        #expect(!complaint.remedy.isEmpty)
    }

    @Test("other lines are no complaint", arguments: [[], ["level=info msg=\"Running kube-apiserver\""]])
    func unknown(lines: [String]) {
        #expect(K3sComplaint(lines: lines) == nil)
    }

    @Test("the wait has its remedy, and the general one where there is none")
    func wait() throws {
        let state = try Sample.state(.agent(Sample.join()))
        var observation = PlanTests.settled(state, activity: .activating)
        let plan = Plan(from: observation, to: state, applied: "\(state.fingerprint)", mayStart: true)
        observation.lastLines = ["level=error msg=\"Node password rejected, duplicate hostname\""]
        let reason = K3sWait.reason(observation, plan: plan, desired: state, isCrashLooping: false)
        #expect(reason?.remedy == K3sComplaint.nodePassword.remedy)
        observation.lastLines = ["level=info msg=\"Starting k3s\""]
        let quiet = K3sWait.reason(observation, plan: plan, desired: state, isCrashLooping: true)
        #expect(quiet?.remedy?.contains("journalctl -u k3s-agent.service") == true)
    }
}
