/// A basic value of a D-Bus message.
package enum BusValue: Hashable, Sendable {
    /// A string, an object path or a signature.
    case string(String)
    case bool(Bool)
    case unsigned(UInt64)
    case signed(Int64)

    /// The text, when it is one.
    package var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The number, when it is one.
    package var number: UInt64? {
        switch self {
        case .unsigned(let number): number
        case .signed(let number): UInt64(exactly: number)
        default: nil
        }
    }
}

/// An argument of a method call.
package enum BusArgument: Hashable, Sendable {
    case string(String)
    case bool(Bool)
    case strings([String])
}

/// A method call.
package struct BusCall: Hashable, Sendable {
    /// The bus name of the callee.
    package var destination: String
    /// The object.
    package var path: String
    /// The interface.
    package var interface: String
    /// The method.
    package var member: String
    /// Its arguments.
    package var arguments: [BusArgument]

    package init(
        destination: String, path: String, interface: String, member: String, arguments: [BusArgument] = []
    ) {
        self.destination = destination
        self.path = path
        self.interface = interface
        self.member = member
        self.arguments = arguments
    }
}

/// The answer to a call: its basic values in their order, and the entries of a dictionary of variants.
/// Everything else in it is passed over.
package struct BusReply: Hashable, Sendable {
    /// The basic values at top level.
    package var values: [BusValue] = []
    /// The entries of `a{sv}` at top level whose value is basic; of a value `(uo)` the number.
    package var properties: [String: BusValue] = [:]
}

/// A signal that was received.
package struct BusSignal: Hashable, Sendable {
    /// The object that sent it.
    package var path: String
    /// The signal's name.
    package var member: String
    /// Its content.
    package var content: BusReply
}

/// Why a call was not answered.
package enum BusError: Error, Hashable, Sendable {
    /// No bus to connect to: the reason of the last address tried.
    case unavailable(String)
    /// The connection broke before the answer came.
    case disconnected
    /// No answer within the deadline.
    case timedOut
    /// The callee answered with an error.
    case refused(name: String, message: String)
    /// The message could not be made or read: errno(3).
    case malformed(code: Int32)
}
