/// Where K3s' files are: below `/` on a node, below another folder when the agent runs with `--root`.
package struct K3sLayout: Hashable, Sendable {
    /// The folder that stands for `/`, without a slash at its end; empty for `/` itself.
    package let root: String
    private var chosenDataFolder: String?

    /// The files below `root`.
    package init(root: String = "/") {
        self.root = Self.withoutEndingSlash(root)
    }

    /// The same with K3s' data in the folder that the user chose.
    package func withData(in folder: String) -> K3sLayout {
        var layout = self
        layout.chosenDataFolder = Self.withoutEndingSlash(folder)
        return layout
    }

    private static func withoutEndingSlash(_ text: String) -> String {
        var path = Substring(text)
        while path.hasSuffix("/") { path = path.dropLast() }
        return String(path)
    }

    /// Whether this is the machine itself.
    package var isSystem: Bool { root.isEmpty }

    /// The base config file, which belongs to the user.
    package var configFile: String { root + "/etc/rancher/k3s/config.yaml" }
    /// The folder of config files read after it.
    package var configFolder: String { configFile + ".d" }
    /// This agent's file among them.
    package var dropIn: String { configFolder + "/90-kairos-p2p.yaml" }
    /// The variables of the service.
    package var environmentFile: String { root + "/etc/rancher/k3s/kairos-p2p.env" }
    /// K3s' data.
    package var dataFolder: String { chosenDataFolder ?? root + "/var/lib/rancher/k3s" }
    /// The administrator's credentials, which a server writes.
    package var kubeconfig: String { root + "/etc/rancher/k3s/k3s.yaml" }
    /// Present on a server whose datastore is SQLite (contract/k3s.md §2).
    package var sqliteData: String { dataFolder + "/server/db/state.db" }
    /// Present on a server whose datastore is embedded etcd (contract/k3s.md §2).
    package var etcdData: String { dataFolder + "/server/db/etcd/member/wal" }
    /// Written by a member of an etcd that was taken out of it, before it ends (contract/k3s.md §11.2).
    package var etcdTombstone: String { dataFolder + "/server/db/etcd/tombstone" }
    /// The full token, present once a server has come up.
    package var nodeToken: String { dataFolder + "/server/node-token" }
    /// Says that K3s was set up once (contract/kairos.md §3.1).
    package var sentinel: String { root + "/usr/local/.kairos/deployed" }
    /// What K3s' data on this node belong to.
    package var clusterRecord: String { root + "/usr/local/.kairos/p2p/k3s.cluster" }
    /// Says that the agent has, since the machine booted, found the data of `command` to be those to go
    /// on with. The unit does not start without it, whatever it is enabled for: after a boot nobody
    /// knows what was decided meanwhile. It is on a file system that a boot empties.
    package func startPermit(_ command: K3sCommand) -> String {
        root + "/run/kairos-agent.starts-" + command.unit
    }
    /// The fingerprint of the settings with which K3s was last started.
    package var appliedRecord: String { root + "/usr/local/.kairos/p2p/k3s.applied" }
    /// Where K3s' binary may be, the first that exists being used (contract/kairos.md §3.1).
    ///
    /// The machine's own binary serves every `--root` that brings none.
    package var binaries: [String] {
        let names = ["/usr/bin/k3s", "/usr/local/bin/k3s"]
        return isSystem ? names : names.map { root + $0 } + names
    }

    /// Where a child process's output goes.
    package func logFile(_ command: K3sCommand) -> String {
        root + "/var/log/" + command.unit.prefix { $0 != "." } + ".log"
    }

    /// This agent's drop-in for the unit of `command`.
    package func unitDropIn(_ command: K3sCommand) -> String {
        unitFolder(command) + "/90-kairos-p2p.conf"
    }

    /// The drop-in that stock Kairos writes; its command line would win over ours.
    package func stockOverride(_ command: K3sCommand) -> String {
        unitFolder(command) + "/override.conf"
    }

    private func unitFolder(_ command: K3sCommand) -> String {
        root + "/etc/systemd/system/\(command.unit).d"
    }
}
