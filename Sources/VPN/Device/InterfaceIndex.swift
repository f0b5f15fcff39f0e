internal import Glibc

/// The kernel's number of a network interface.
enum InterfaceIndex {
    /// 0 when there is no interface of that name.
    static func named(_ name: String) -> UInt32 { if_nametoindex(name) }
}
