package import Coordination
internal import Synchronization
internal import VPN

/// Reads the values of entries, and remembers what it has read: the members' copies of a certificate are
/// one text, and checking it costs a signature for each of its votes. Nodes in one process may share one.
///
/// What is remembered is a function of the text alone, so it never has to be taken back. When it is full
/// it starts anew.
package final class EntryReader: Sendable {
    private struct Memory: Sendable {
        var registers: [String: ElectionRegister] = [:]
        var certificates: [String: DecreeCertificate] = [:]
        var machines: [String: MachineEntry] = [:]
        var bytes = 0

        /// Makes room for a text.
        mutating func count(_ text: String) {
            bytes += text.utf8.count
            guard bytes > EntryReader.mostBytes else { return }
            self = Memory(bytes: text.utf8.count)
        }
    }

    /// How many bytes of text are remembered.
    static let mostBytes = 1 << 20

    private let memory = Mutex(Memory())

    package init() {}

    /// The register that `text` spells; nil when it is anything else.
    package func register(from text: String) -> ElectionRegister? {
        if let known = memory.withLock({ $0.registers[text] }) { return known }
        guard let register = ElectionCodec.register(from: text) else { return nil }
        memory.withLock {
            $0.count(text)
            $0.registers[text] = register
        }
        return register
    }

    /// The certificate that `text` spells, checked; nil when it is anything else or proves nothing.
    func certificate(from text: String) -> DecreeCertificate? {
        if let known = memory.withLock({ $0.certificates[text] }) { return known }
        guard let certificate = ElectionCodec.certificate(from: text) else { return nil }
        memory.withLock {
            $0.count(text)
            $0.certificates[text] = certificate
        }
        return certificate
    }

    /// The address entry that `text` spells; nil when it is anything else.
    func machine(from text: String) -> MachineEntry? {
        if let known = memory.withLock({ $0.machines[text] }) { return known }
        guard let machine = MachineEntry(value: text) else { return nil }
        memory.withLock {
            $0.count(text)
            $0.machines[text] = machine
        }
        return machine
    }
}
