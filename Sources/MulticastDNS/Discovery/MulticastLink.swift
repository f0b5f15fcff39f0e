package import Multiformats

/// One IP version on one network interface: a place where multicast is sent and heard.
package struct MulticastLink: Hashable, Sendable {
    /// Names a link.
    package struct ID: Hashable, Sendable, CustomStringConvertible {
        package enum Family: Hashable, Sendable {
            case v4, v6
        }

        /// The kernel's index of the interface.
        package let interface: UInt32
        package let family: Family

        package init(interface: UInt32, family: Family) {
            self.interface = interface
            self.family = family
        }

        package var description: String { "\(interface)/\(family)" }
    }

    /// An address of the interface and the length of its network's prefix in bits.
    package struct Prefix: Hashable, Sendable {
        package let address: IPAddress
        package let length: Int

        package init(address: IPAddress, length: Int) {
            self.address = address
            self.length = length
        }
    }

    package let id: ID
    /// The interface's name.
    package let name: String
    /// The interface's addresses of the link's family.
    package let prefixes: [Prefix]

    package init(id: ID, name: String, prefixes: [Prefix]) {
        self.id = id
        self.name = name
        self.prefixes = prefixes
    }

    /// Whether `address` belongs to a network of this link, so that no router lies between.
    func isNeighbour(_ address: IPAddress) -> Bool {
        prefixes.contains { prefix in
            switch (address, prefix.address) {
            case (.v4(let left), .v4(let right)): left.isIn(right, prefix.length)
            case (.v6(let left), .v6(let right)): left.isIn(right, prefix.length)
            default: false
            }
        }
    }
}

/// Where a packet came from.
package struct PacketSource: Hashable, Sendable {
    package let address: IPAddress
    package let port: UInt16

    package init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}
