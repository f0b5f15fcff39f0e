/// The version of this agent, told by `kairos-agent version`, in the status and to peers.
package enum AgentVersion {
    package static let current = "0.1.0"
}
