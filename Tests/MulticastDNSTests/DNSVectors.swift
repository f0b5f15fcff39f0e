import Foundation
import Multiformats
import TestSupport

@testable import MulticastDNS

/// `mdns.json`: what two EdgeVPN nodes sent to find one another.
struct DNSVectors: Decodable {
    struct Record: Decodable {
        var name: String
        var type: String
        var ttl: UInt32
        var cacheFlush: Bool
        var `class`: UInt16
        var target: String?
        var texts: [String]?
        var address: String?
        var port: UInt16?
        var priority: UInt16?
        var weight: UInt16?

        func parsed() -> DNSRecord? {
            guard let name = DNSName(name) else { return nil }
            let data: DNSRecordData
            switch (type, target.flatMap { DNSName($0) }) {
            case ("PTR", let target?): data = .ptr(target)
            case ("SRV", let target?):
                data = .srv(priority: priority ?? 0, weight: weight ?? 0, port: port ?? 0, target: target)
            case ("TXT", _): data = .txt((texts ?? []).map { Array($0.utf8) })
            case ("A", _):
                guard let address = IPv4Address(address ?? "") else { return nil }
                data = .a(address)
            case ("AAAA", _):
                guard let address = IPv6Address(address ?? "") else { return nil }
                data = .aaaa(address)
            default: return nil
            }
            return DNSRecord(
                name: name, recordClass: self.class, cacheFlush: cacheFlush, timeToLive: ttl, data: data)
        }
    }

    struct Question: Decodable {
        var name: String
        var type: String
        var `class`: UInt16
        var unicastResponse: Bool
    }

    struct Packet: Decodable {
        var id: UInt16
        var response: Bool
        var authoritative: Bool
        var questions: [Question]
        var answers: [Record]
        var authority: [Record]
        var additional: [Record]
    }

    struct Case: Decodable {
        var from: String
        var fromPort: UInt16
        var to: String
        var payload: String
        var packet: Packet
        var vpnPeers: [String: [String]]
    }

    struct Peer: Decodable {
        var peerId: String
    }

    var serviceName: String
    var peers: [Peer]
    var cases: [Case]

    static func load() throws -> DNSVectors {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(DNSVectors.self, from: Vectors.data("mdns.json"))
    }
}
