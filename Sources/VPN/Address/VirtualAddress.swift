/// An IPv4 address inside the mesh, as a number in host byte order.
package struct VirtualAddress: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The address as a number: 10.1.0.5 is 0x0a010005.
    package let rawValue: UInt32

    package init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Reads a dotted quad as Go writes one: four decimal numbers of 0 to 255, no leading zeros, no
    /// prefix length, nothing around it. Anything else gives nil.
    package init?(_ text: some StringProtocol) {
        var value: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                if digits > 0 && octet == 0 { return nil }
                octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
                digits += 1
                if octet > 255 { return nil }
            case UInt8(ascii: "."):
                if digits == 0 || dots == 3 { return nil }
                value = value << 8 | octet
                octet = 0
                digits = 0
                dots += 1
            default:
                return nil
            }
        }
        guard dots == 3, digits > 0 else { return nil }
        self.rawValue = value << 8 | octet
    }

    package static func < (left: VirtualAddress, right: VirtualAddress) -> Bool {
        left.rawValue < right.rawValue
    }

    /// The dotted quad: also the key of the node's entry in the bucket `machines` (contract J.8).
    package var description: String {
        "\(rawValue >> 24).\(rawValue >> 16 & 255).\(rawValue >> 8 & 255).\(rawValue & 255)"
    }
}
