/// Where the API gets the node's status from: the composition of the agent.
package protocol StatusSource: Sendable {
    /// The status of this moment. It is asked for by every request, so it must not wait for the network.
    func status() async -> StatusDocument
}

/// Where the API gets the ledger from: the composition of the agent.
package protocol LedgerSource: Sendable {
    /// The ledger and the peers of this moment. It must not wait for the network.
    func ledger() async -> LedgerView
}
