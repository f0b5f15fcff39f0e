internal import CLinuxNet
internal import Glibc

/// What the packet path needs of a device: whole packets, each behind a 10-byte virtio-net header
/// (`VirtioNetHeader`). A TUN device in the agent, a queue in tests.
package protocol PacketDevice: AnyObject, Sendable {
    /// Reads one packet with its header into `buffer`; nil when none is waiting.
    ///
    /// Throws `PacketDeviceError` when the device is gone.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(PacketDeviceError) -> Int?

    /// Writes one packet with its header. False when the kernel does not take it: a malformed packet,
    /// or a device that is down.
    func write(_ packet: UnsafeRawBufferPointer) -> Bool

    /// Waits until a packet can be read, or the descriptor `other`, if there is one, or until `wake` is called.
    func wait(alongside other: Int32?) -> PacketReadiness

    /// Ends the present or the next `wait`; may be called from any thread.
    func wake()

    /// What packets a peer may send us, given what the kernel takes from us.
    var capabilities: OffloadCapabilities { get }
}

/// What can be read.
package struct PacketReadiness: OptionSet, Hashable, Sendable {
    package let rawValue: Int32

    package init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    package static let device = PacketReadiness(rawValue: 1)
    package static let other = PacketReadiness(rawValue: 2)
}

/// A packet device with addresses: what the VPN service brings up.
package protocol VPNDevice: PacketDevice {
    /// The name in the kernel.
    var name: String { get }

    /// Gives the device its address and further single addresses; changes nothing that is right.
    ///
    /// Throws `TunDeviceError`. Calls must not overlap.
    func apply(
        address: VirtualAddress, additional: Set<VirtualAddress>
    ) throws(TunDeviceError) -> DeviceConfigurator.Outcome

    /// Takes the addresses of the mesh's subnet off the device.
    func clear() throws(TunDeviceError)
}

/// The device can no longer be read: it was removed under us.
package struct PacketDeviceError: Error, Hashable, Sendable, CustomStringConvertible {
    package let errno: Int32

    package init(errno: Int32) {
        self.errno = errno
    }

    package var description: String { "the VPN device cannot be read: \(String(cString: strerror(errno)))" }
}

/// A persistent TUN device. It outlives the agent: a restart attaches to the device that is there,
/// so its index, address, MTU and routes, and the K3s overlay that hangs on it, stay.
///
/// The device belongs to the network namespace in which `attach` was called; the object can be used
/// from any thread. `write` may be called from several threads at once, `read` from one.
package final class TunDevice: VPNDevice {
    /// EdgeVPN's device name, which Kairos configurations know (contract kairos.md 4).
    package static let standardName = "edgevpn0"
    /// EdgeVPN's MTU (contract K.1).
    package static let standardMTU: UInt16 = 1200

    /// The device's name in the kernel.
    package let name: String
    package let capabilities: OffloadCapabilities
    private let descriptor: Int32
    private let wakeDescriptor: Int32
    private let configurator: DeviceConfigurator

    private init(
        name: String, configurator: DeviceConfigurator, capabilities: OffloadCapabilities, descriptor: Int32,
        wakeDescriptor: Int32
    ) {
        self.name = name
        self.configurator = configurator
        self.capabilities = capabilities
        self.descriptor = descriptor
        self.wakeDescriptor = wakeDescriptor
    }

    deinit {
        close(descriptor)
        close(wakeDescriptor)
    }

    /// Attaches to the device `name`, made persistent if it is new, and turns IPv6 off on it. `apply`
    /// then gives it addresses of `subnet` and the MTU. With `offloads` off, the kernel hands over
    /// only plain packets with complete checksums.
    ///
    /// Throws `TunDeviceError` that says what is missing.
    package static func attach(
        name: String = TunDevice.standardName, subnet: VirtualSubnet = .standard,
        mtu: UInt16 = TunDevice.standardMTU, offloads: Bool = true
    ) throws(TunDeviceError) -> TunDevice {
        let descriptor = clinuxnet_tun_open()
        guard descriptor >= 0 else { throw TunDeviceError.opening(name: name, errno: -descriptor) }
        do throws(TunDeviceError) {
            var result = clinuxnet_tun_attach(descriptor, name)
            guard result == 0 else { throw TunDeviceError.attaching(name: name, errno: -result) }
            result = clinuxnet_tun_set_header_format(descriptor)
            guard result == 0 else { throw TunDeviceError.unsupported(name: name, errno: -result) }
            result = clinuxnet_tun_set_persistent(descriptor, 1)
            guard result == 0 else { throw TunDeviceError.unsupported(name: name, errno: -result) }
            let capabilities = negotiateOffloads(descriptor, wanted: offloads)
            let wakeDescriptor = clinuxnet_eventfd()
            guard wakeDescriptor >= 0 else {
                throw TunDeviceError.system(name: name, action: "make an eventfd for", errno: -wakeDescriptor)
            }
            let configurator: DeviceConfigurator
            do throws(TunDeviceError) {
                configurator = try DeviceConfigurator(name: name, subnet: subnet, mtu: UInt32(mtu))
            } catch {
                close(wakeDescriptor)
                throw error
            }
            return TunDevice(
                name: name, configurator: configurator, capabilities: capabilities, descriptor: descriptor,
                wakeDescriptor: wakeDescriptor)
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Deletes the device for good, for an uninstall. No other descriptor may be attached to it.
    ///
    /// Throws `TunDeviceError` when it is in use, or is no TUN device.
    package static func remove(name: String) throws(TunDeviceError) {
        let descriptor = clinuxnet_tun_open()
        guard descriptor >= 0 else { throw TunDeviceError.opening(name: name, errno: -descriptor) }
        defer { close(descriptor) }
        // Attaching makes a device that is missing; without persistence it goes when we close.
        var result = clinuxnet_tun_attach(descriptor, name)
        guard result == 0 else { throw TunDeviceError.attaching(name: name, errno: -result) }
        result = clinuxnet_tun_set_persistent(descriptor, 0)
        guard result == 0 else { throw TunDeviceError.unsupported(name: name, errno: -result) }
    }

    /// Asks the kernel for the most that it gives. What it takes in packets written to it does not
    /// depend on the request, but on its age: UDP segmentation came with Linux 6.2.
    private static func negotiateOffloads(_ descriptor: Int32, wanted: Bool) -> OffloadCapabilities {
        let checksum = UInt32(CLINUXNET_TUN_OFFLOAD_CHECKSUM)
        let tcp = checksum | UInt32(CLINUXNET_TUN_OFFLOAD_TSO4)
        let udp =
            tcp | UInt32(CLINUXNET_TUN_OFFLOAD_USO4) | UInt32(CLINUXNET_TUN_OFFLOAD_USO6)
        var capabilities: OffloadCapabilities = [.partialChecksum, .tcpSegmentation]
        if clinuxnet_tun_set_offload(descriptor, udp) == 0 {
            capabilities.insert(.udpSegmentation)
        } else if clinuxnet_tun_set_offload(descriptor, tcp) != 0 {
            clinuxnet_tun_set_offload(descriptor, 0)
        }
        if !wanted {
            // A device that was attached before keeps the offloads of its last user.
            clinuxnet_tun_set_offload(descriptor, 0)
            capabilities = []
        }
        return capabilities
    }

    package func apply(
        address: VirtualAddress, additional: Set<VirtualAddress>
    ) throws(TunDeviceError) -> DeviceConfigurator.Outcome {
        try configurator.apply(address: address, additional: additional)
    }

    package func clear() throws(TunDeviceError) {
        try configurator.clear()
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(PacketDeviceError) -> Int? {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            switch errno {
            case EAGAIN: return nil
            case EINTR: continue
            default: throw PacketDeviceError(errno: errno)
            }
        }
    }

    package func write(_ packet: UnsafeRawBufferPointer) -> Bool {
        while true {
            if Glibc.write(descriptor, packet.baseAddress, packet.count) >= 0 { return true }
            if errno != EINTR { return false }
        }
    }

    package func wait(alongside other: Int32?) -> PacketReadiness {
        PacketReadiness(
            rawValue: clinuxnet_wait_readable(descriptor, other ?? -1, wakeDescriptor))
    }

    package func wake() {
        var one: UInt64 = 1
        _ = Glibc.write(wakeDescriptor, &one, 8)
    }
}
