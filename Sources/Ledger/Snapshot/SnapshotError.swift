/// Why the ledger's snapshot could not be written or read. After a failed write the old snapshot is
/// still there, whole.
package enum SnapshotError: Error, Hashable, Sendable {
    /// The disk, or this user's share of it, is full.
    case diskFull(path: String)
    /// The file system is mounted read-only.
    case readOnly(path: String)
    /// This process may not write or read there.
    case permission(path: String)
    /// The system refused for another reason: the failed step and the system's error number.
    case failed(step: String, path: String, code: Int32)
    /// The ledger is larger than a snapshot may be.
    case tooLarge(bytes: Int)
}

extension SnapshotError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .diskFull(let path):
            "no space left to store the ledger at \(path): free some; the last snapshot is kept until then"
        case .readOnly(let path):
            "\(path) is on a read-only file system: mount it writable; the last snapshot is kept until then"
        case .permission(let path):
            "no permission to store the ledger at \(path): run as root or change its owner"
        case .failed(let step, let path, let code):
            "cannot \(step) \(path): system error \(code); check the disk"
        case .tooLarge(let bytes):
            "the ledger takes \(bytes) bytes, more than a snapshot may: delete entries"
        }
    }
}

/// Why a snapshot was not used. The file is kept under another name for whoever wants to look.
package enum SnapshotProblem: Error, Hashable, Sendable {
    /// It ends too early: it was cut off.
    case torn
    /// It is no snapshot of a ledger.
    case foreign
    /// It was written by a version whose format this one does not read.
    case unknownVersion(UInt32)
    /// Its checksum is wrong: the disk or somebody changed it.
    case corrupt
    /// It belongs to a network with another token.
    case otherNetwork
}

extension SnapshotProblem: CustomStringConvertible {
    package var description: String {
        switch self {
        case .torn: "the stored ledger is cut off"
        case .foreign: "the stored ledger is some other file"
        case .unknownVersion(let version):
            "the stored ledger has format \(version), which this version cannot read"
        case .corrupt: "the stored ledger is damaged"
        case .otherNetwork: "the stored ledger belongs to a network with another token"
        }
    }
}
