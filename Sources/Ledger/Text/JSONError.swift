/// Why a JSON text was refused. Offsets count bytes from the start of the text.
package enum JSONError: Error, Hashable, Sendable {
    /// The text is not JSON, or ends too early.
    case syntax(offset: Int)
    /// Lists and objects are nested deeper than the reader allows.
    case tooDeep(offset: Int)
    /// A value has another type than its field.
    case wrongType(offset: Int)
    /// A number is not a whole number of the field's range.
    case numberOutOfRange(offset: Int)
    /// A signature is not standard padded base64.
    case badBase64(offset: Int)
    /// The text, or the number of things in it, is larger than allowed.
    case tooLarge
}

extension JSONError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .syntax(let offset): "not JSON at byte \(offset)"
        case .tooDeep(let offset): "nested too deeply at byte \(offset)"
        case .wrongType(let offset): "a value of the wrong type at byte \(offset)"
        case .numberOutOfRange(let offset): "a number out of range at byte \(offset)"
        case .badBase64(let offset): "bad base64 at byte \(offset)"
        case .tooLarge: "larger than the limit"
        }
    }
}
