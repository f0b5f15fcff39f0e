internal import Glibc

/// Why the VPN device cannot be had.
package enum TunDeviceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There is no /dev/net/tun, or no driver behind it.
    case noDriver(name: String)
    /// The process may not make network devices.
    case notPermitted(name: String)
    /// Another process has the device attached.
    case inUse(name: String)
    /// A device of another kind has the name.
    case foreignDevice(name: String)
    /// The name is empty, longer than 15 bytes, or holds characters that the kernel refuses.
    case invalidName(String)
    /// The kernel's driver lacks something that every Linux since 3.19 has.
    case driverTooOld(name: String, errno: Int32)
    /// Another failure of the system.
    case system(name: String, action: String, errno: Int32)
    /// The device is there, but could not be set up.
    case configuration(name: String, NetlinkError)
    /// The device disappeared after it was attached.
    case vanished(name: String)

    static func opening(name: String, errno: Int32) -> TunDeviceError {
        switch errno {
        case ENOENT, ENXIO, ENODEV: .noDriver(name: name)
        case EACCES, EPERM: .notPermitted(name: name)
        default: .system(name: name, action: "open /dev/net/tun", errno: errno)
        }
    }

    static func attaching(name: String, errno: Int32) -> TunDeviceError {
        switch errno {
        case EPERM, EACCES: .notPermitted(name: name)
        case EBUSY: .inUse(name: name)
        // The kernel says EINVAL for both; a name that it accepts must then be taken.
        case EINVAL: isValidName(name) ? .foreignDevice(name: name) : .invalidName(name)
        // Whatever /dev/net/tun is, it is not the driver's device.
        case ENOTTY: .noDriver(name: name)
        default: .system(name: name, action: "attach to", errno: errno)
        }
    }

    static func unsupported(name: String, errno: Int32) -> TunDeviceError {
        switch errno {
        case EPERM: .notPermitted(name: name)
        case EINVAL, ENOTTY: .driverTooOld(name: name, errno: errno)
        default: .system(name: name, action: "set up", errno: errno)
        }
    }

    /// What the kernel takes as a device name.
    static func isValidName(_ name: String) -> Bool {
        let bytes = name.utf8
        return (1...15).contains(bytes.count) && name != "." && name != ".."
            && bytes.allSatisfy {
                $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":")
            }
            && !name.contains("%")
    }

    package var description: String {
        switch self {
        case .noDriver: "there is no /dev/net/tun with the TUN driver behind it"
        case .notPermitted(let name): "no permission to make the VPN device \(name)"
        case .inUse(let name): "another process uses the VPN device \(name)"
        case .foreignDevice(let name): "a network device of another kind is called \(name)"
        case .invalidName(let name): "\"\(name)\" cannot be the name of a network device"
        case .driverTooOld(let name, let errno):
            "the kernel's TUN driver cannot set \(name) up: \(String(cString: strerror(errno)))"
        case .system(let name, let action, let errno):
            "cannot \(action) \(name): \(String(cString: strerror(errno)))"
        case .configuration(let name, let error): "cannot set the VPN device \(name) up: \(error)"
        case .vanished(let name): "the VPN device \(name) has been removed"
        }
    }

    /// What an operator can do about it.
    package var remedy: String {
        switch self {
        case .noDriver: "load the kernel module (modprobe tun), or give the container /dev/net/tun"
        case .notPermitted: "run the agent as root or with CAP_NET_ADMIN"
        case .inUse(let name):
            "stop the other program, such as EdgeVPN (fuser /dev/net/tun), or rename \(name)"
        case .foreignDevice(let name): "remove it (ip link delete \(name)) or configure another name"
        case .invalidName: "use 1 to 15 letters, digits, dashes or underscores"
        case .driverTooOld: "use Linux 3.19 or newer"
        case .system: "see the kernel's log (dmesg)"
        case .configuration(_, let error) where error.errno == EPERM:
            "run the agent as root or with CAP_NET_ADMIN"
        case .configuration: "see the kernel's log (dmesg), and whether the address is in use elsewhere"
        case .vanished: "restart the agent; it makes the device again"
        }
    }
}
