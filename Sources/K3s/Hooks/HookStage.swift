/// A moment of a node's life that the operator's stages can hang on (contract/kairos.md §1.6).
package enum HookStage: Hashable, Sendable {
    /// The agent starts; before anything else.
    case bootstrap
    /// K3s is about to be configured for a role for the first time.
    case before(role: String)
    /// K3s runs in a role for the first time.
    case after(role: String)

    /// The stage's name for `kairos-agent run-stage`.
    package var name: String {
        switch self {
        case .bootstrap: "kairos-agent.bootstrap"
        case .before(let role): "provider-kairos.bootstrap.before.\(role)"
        case .after(let role): "provider-kairos.bootstrap.after.\(role)"
        }
    }

    /// How often it is run: once a boot, or once in the node's life in that role.
    package var isOncePerBoot: Bool { self == .bootstrap }
}

/// Where the hooks' programs and records are.
package struct HookLayout: Hashable, Sendable {
    /// The folder that stands for `/`; empty for `/` itself.
    package let root: String

    package init(_ layout: K3sLayout) {
        root = layout.root
    }

    /// Kairos' own agent, which runs stages.
    package var agent: String { root + "/usr/bin/kairos-agent" }
    /// The operator's program for the bootstrap.
    package var bootstrapHook: String { root + "/usr/bin/kairos-agent.bootstrap.hook" }
    /// The stages that were run once and for all, one a line.
    package var record: String { root + "/usr/local/.kairos/p2p/hooks.done" }
    /// The same of this boot.
    package var bootRecord: String { root + "/run/kairos-agent.hooks" }

    package func record(of stage: HookStage) -> String { stage.isOncePerBoot ? bootRecord : record }
}
