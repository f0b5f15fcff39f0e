/// What an operator says on a machine. Other machines are named by their number.
package enum OperatorWord: Hashable, Sendable {
    case leave
    case forget(Int)
    case resetCluster
}
