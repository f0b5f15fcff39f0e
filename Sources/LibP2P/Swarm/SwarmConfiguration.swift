package import Timing

/// What a swarm is made with.
package struct SwarmConfiguration: Sendable {
    package var limits = SwarmLimits()
    package var timings = SwarmTimings()
    package var yamux = YamuxConfiguration()
    /// What the queues and buffers of all connections may take.
    package var memory = MemoryBudget()
    /// What identify says of the software: `kairos-node-agent/<version>`.
    package var agentVersion = PeerInformation.agentPrefix + "dev"
    /// The clocks; tests may bring their own.
    package var clock: any TimeSource = SystemTime()
    /// Seeds the jitter of redials.
    package var seed: UInt64 = .random(in: .min ... .max)

    package init() {}
}
