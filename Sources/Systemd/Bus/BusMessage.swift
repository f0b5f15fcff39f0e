internal import CSystemd

/// Writing and reading of messages, bounded: a bus is a neighbour, not a part of us.
enum BusMessage {
    /// Values and entries of one message that are kept at most.
    private static let largest = 4096

    /// Appends `arguments` to `message`; negative errno(3) on failure.
    static func append(_ arguments: [BusArgument], to message: OpaquePointer) -> Int32 {
        for argument in arguments {
            let result: Int32
            switch argument {
            case .string(let text): result = append(text, to: message)
            case .bool(let flag):
                var number: Int32 = flag ? 1 : 0
                result = sd_bus_message_append_basic(message, code("b"), &number)
            case .strings(let texts):
                var step = sd_bus_message_open_container(message, code("a"), "s")
                for text in texts where step >= 0 { step = append(text, to: message) }
                result = step < 0 ? step : sd_bus_message_close_container(message)
            }
            if result < 0 { return result }
        }
        return 0
    }

    private static func append(_ text: String, to message: OpaquePointer) -> Int32 {
        text.withCString { sd_bus_message_append_basic(message, code("s"), $0) }
    }

    /// The content of `message`; nil when it is not well-formed.
    static func read(_ message: OpaquePointer) -> BusReply? {
        var reply = BusReply()
        while reply.values.count < largest {
            var type: CChar = 0
            var contents: UnsafePointer<CChar>?
            let more = sd_bus_message_peek_type(message, &type, &contents)
            if more < 0 { return nil }
            if more == 0 { return reply }
            if type == code("a"), let contents, String(cString: contents) == "{sv}" {
                guard readProperties(message, into: &reply.properties) else { return nil }
            } else if let value = readBasic(message, type) {
                reply.values.append(value)
            } else if sd_bus_message_skip(message, nil) < 0 {
                return nil
            }
        }
        return reply
    }

    private static func readProperties(_ message: OpaquePointer, into properties: inout [String: BusValue])
        -> Bool
    {
        guard sd_bus_message_enter_container(message, code("a"), "{sv}") >= 0 else { return false }
        while true {
            let entered = sd_bus_message_enter_container(message, code("e"), "sv")
            if entered < 0 { return false }
            if entered == 0 { break }
            guard case .string(let name)? = readBasic(message, code("s")) else { return false }
            var type: CChar = 0
            var contents: UnsafePointer<CChar>?
            guard sd_bus_message_peek_type(message, &type, &contents) > 0, let contents else { return false }
            let signature = String(cString: contents)
            if signature.utf8.count == 1, "sogbyqutnix".contains(signature) {
                guard sd_bus_message_enter_container(message, code("v"), signature) >= 0 else { return false }
                if let value = readBasic(message, CChar(bitPattern: signature.utf8.first ?? 0)),
                    properties.count < largest
                {
                    properties[name] = value
                }
                guard sd_bus_message_exit_container(message) >= 0 else { return false }
            } else if signature == "(uo)" {
                // An object with its number, such as a unit's job: the number says whether there is one.
                guard sd_bus_message_enter_container(message, code("v"), signature) >= 0,
                    sd_bus_message_enter_container(message, code("r"), "uo") >= 0
                else { return false }
                if properties.count < largest { properties[name] = readBasic(message, code("u")) }
                guard sd_bus_message_skip(message, "o") >= 0, sd_bus_message_exit_container(message) >= 0,
                    sd_bus_message_exit_container(message) >= 0
                else { return false }
            } else if sd_bus_message_skip(message, "v") < 0 {
                return false
            }
            guard sd_bus_message_exit_container(message) >= 0 else { return false }
        }
        return sd_bus_message_exit_container(message) >= 0
    }

    /// The basic value of `type` that comes next; nil, with nothing read, when the type is another.
    private static func readBasic(_ message: OpaquePointer, _ type: CChar) -> BusValue? {
        // The widest value of the protocol, to which sd-bus writes as many bytes as the type has.
        func number<Value: FixedWidthInteger>(_: Value.Type) -> Value? {
            var value: Value = 0
            return sd_bus_message_read_basic(message, type, &value) > 0 ? value : nil
        }
        switch Character(Unicode.Scalar(UInt8(bitPattern: type))) {
        case "s", "o", "g":
            var text: UnsafePointer<CChar>?
            guard sd_bus_message_read_basic(message, type, &text) > 0, let text else { return nil }
            return .string(String(cString: text))
        case "b": return number(Int32.self).map { .bool($0 != 0) }
        case "y": return number(UInt8.self).map { .unsigned(UInt64($0)) }
        case "q": return number(UInt16.self).map { .unsigned(UInt64($0)) }
        case "u": return number(UInt32.self).map { .unsigned(UInt64($0)) }
        case "t": return number(UInt64.self).map { .unsigned($0) }
        case "n": return number(Int16.self).map { .signed(Int64($0)) }
        case "i": return number(Int32.self).map { .signed(Int64($0)) }
        case "x": return number(Int64.self).map { .signed($0) }
        default: return nil
        }
    }

    /// The protocol's code for a type, as sd-bus takes it.
    private static func code(_ character: Unicode.Scalar) -> CChar {
        CChar(truncatingIfNeeded: character.value)
    }
}
