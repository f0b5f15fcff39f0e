internal import LibP2P
internal import Multiformats

/// What this node tells its neighbours of itself: the records of one instance of the service
/// (contract/wire.md G.3, G.5).
struct Advertisement: Hashable, Sendable {
    /// The parts of the advertisement that a question asks for.
    struct Subject: OptionSet, Hashable, Sendable {
        let rawValue: UInt8
        /// Who offers the service: PTR of the service's name.
        static let service = Subject(rawValue: 1)
        /// Where this instance is: SRV and TXT.
        static let instance = Subject(rawValue: 2)
        /// The host's addresses.
        static let host = Subject(rawValue: 4)
        /// Which services there are at all.
        static let services = Subject(rawValue: 8)
    }

    let service: DNSName
    let instance: DNSName
    let host: DNSName
    /// The strings with the addresses.
    let texts: [[UInt8]]
    /// The string before them that proves them, if this node proves its announcements.
    let proof: [UInt8]?
    private let hostAddresses: [DNSRecordData]
    private let timeToLive: UInt32

    /// Packets stay within what every IPv6 link carries unfragmented: 1280 less the headers.
    static let maximumPacketLength = 1232
    /// Room for the question that an answer to an old resolver repeats.
    private static let questionReserve = 80
    /// The port in the SRV record, a constant that nobody reads (contract/wire.md G.5).
    private static let port: UInt16 = 4001
    /// The name under which every service is listed (RFC 6763, 9).
    static let listing = DNSName("_services._dns-sd._udp.local.")

    /// Describes `peer` at `addresses`, under the random label `label`. Addresses that neighbours
    /// cannot use are left out, and the last of those that remain when not all fit into a packet.
    /// Nil when none remains.
    init?(
        service: DNSName, label: String, peer: PeerID, addresses: [Multiaddr], includesLoopback: Bool,
        timeToLive: UInt32, proof: AnnouncementProof? = nil
    ) {
        guard let instance = service.prefixed(with: label), let host = DNSName("\(label).local.") else {
            return nil
        }
        var texts: [[UInt8]] = []
        var v4: DNSRecordData?
        var v6: DNSRecordData?
        for address in addresses {
            guard
                let text = AdvertisedAddress.encode(address, of: peer, includesLoopback: includesLoopback),
                !texts.contains(text)
            else { continue }
            texts.append(text)
            switch address.ipAddress {
            case .v4(let address): v4 = v4 ?? .a(address)
            case .v6(let address): v6 = v6 ?? .aaaa(address)
            case nil: break
            }
        }
        // A Go receiver wants an address record, whatever it says (contract/wire.md G.6).
        let records = [v4, v6].compactMap { $0 }
        self.service = service
        self.instance = instance
        self.host = host
        self.hostAddresses = records.isEmpty ? [.a(IPv4Address(0x7f00_0001))] : records
        self.timeToLive = timeToLive
        while true {
            let candidate = Self(
                copying: texts, proof: proof?.text(for: texts, nonce: label), service: service,
                instance: instance, host: host, hostAddresses, timeToLive)
            let limit = Self.maximumPacketLength - Self.questionReserve
            if (try? candidate.announcement().encoded(maximumLength: limit)) != nil { break }
            guard texts.popLast() != nil else { return nil }
        }
        guard !texts.isEmpty else { return nil }
        self.texts = texts
        self.proof = proof?.text(for: texts, nonce: label)
    }

    private init(
        copying texts: [[UInt8]], proof: [UInt8]?, service: DNSName, instance: DNSName, host: DNSName,
        _ hostAddresses: [DNSRecordData], _ timeToLive: UInt32
    ) {
        self.texts = texts
        self.proof = proof
        self.service = service
        self.instance = instance
        self.host = host
        self.hostAddresses = hostAddresses
        self.timeToLive = timeToLive
    }

    /// What `question` asks of this advertisement; empty when it is not for us.
    func subject(of question: DNSQuestion) -> Subject {
        guard question.recordClass == DNSRecord.internetClass || question.recordClass == 255 else {
            return []
        }
        let types: Set<DNSRecordType>
        let subject: Subject
        if question.name == service {
            (types, subject) = ([.ptr], .service)
        } else if question.name == instance {
            return .instance
        } else if question.name == host {
            (types, subject) = ([.a, .aaaa], .host)
        } else if question.name == Self.listing {
            (types, subject) = ([.ptr], .services)
        } else {
            return []
        }
        return types.contains(question.type) || question.type == .any ? subject : []
    }

    /// Whether `record` is our PTR with more than half of its life left, so its sender needs no
    /// answer (RFC 6762, 7.1).
    func isKnownAnswer(_ record: DNSRecord) -> Bool {
        record.name == service && record.data == .ptr(instance) && record.timeToLive > timeToLive / 2
    }

    /// The response to questions about `subjects`.
    func answer(to subjects: Subject, id: UInt16 = 0) -> DNSMessage {
        var message = DNSMessage(id: id, flags: DNSMessage.authoritativeResponseFlags)
        if subjects.contains(.services) { message.answers.append(servicesRecord()) }
        if subjects.contains(.service) {
            message.answers.append(serviceRecord())
            message.additional = instanceRecords(flush: false) + hostRecords(flush: false)
        } else if subjects.contains(.instance) {
            message.answers += instanceRecords(flush: true)
            message.additional = hostRecords(flush: false)
        } else if subjects.contains(.host) {
            message.answers += hostRecords(flush: true)
        }
        return message
    }

    /// The answer to a resolver of one shot, which asked from another port than 5353: it repeats the
    /// question and its records live 10 s (RFC 6762, 6.7).
    func legacyAnswer(to question: DNSQuestion, id: UInt16) -> DNSMessage {
        var message = answer(to: subject(of: question), id: id)
        message.questions = [question]
        message.setTimeToLive(10)
        return message
    }

    /// Asks whether the name is taken, with the records that this node is about to claim.
    func probe(id: UInt16) -> DNSMessage {
        DNSMessage(
            id: id, questions: [DNSQuestion(name: instance, type: .ptr)],
            authority: instanceRecords(flush: false))
    }

    /// All records unasked; each replaces what is cached, except the shared PTR records.
    func announcement() -> DNSMessage {
        DNSMessage(
            flags: DNSMessage.announcementFlags,
            answers: instanceRecords(flush: true) + [serviceRecord(), servicesRecord()]
                + hostRecords(flush: true))
    }

    /// Takes all records back (RFC 6762, 10.1), except that the service as such exists: others offer it.
    func goodbye() -> DNSMessage {
        var message = DNSMessage(
            flags: DNSMessage.announcementFlags,
            answers: instanceRecords(flush: true) + [serviceRecord()] + hostRecords(flush: true))
        message.setTimeToLive(0)
        return message
    }

    private func serviceRecord() -> DNSRecord {
        DNSRecord(name: service, timeToLive: timeToLive, data: .ptr(instance))
    }

    private func servicesRecord() -> DNSRecord {
        DNSRecord(name: Self.listing ?? service, timeToLive: timeToLive, data: .ptr(service))
    }

    private func instanceRecords(flush: Bool) -> [DNSRecord] {
        let location = DNSRecordData.srv(priority: 0, weight: 0, port: Self.port, target: host)
        // First, where those who know of it look for it.
        let strings = [proof].compactMap { $0 } + texts
        return [location, .txt(strings)].map {
            DNSRecord(name: instance, cacheFlush: flush, timeToLive: timeToLive, data: $0)
        }
    }

    private func hostRecords(flush: Bool) -> [DNSRecord] {
        hostAddresses.map { DNSRecord(name: host, cacheFlush: flush, timeToLive: timeToLive, data: $0) }
    }
}

extension DNSMessage {
    fileprivate mutating func setTimeToLive(_ seconds: UInt32) {
        for index in answers.indices { answers[index].timeToLive = seconds }
        for index in additional.indices { additional[index].timeToLive = seconds }
    }
}
