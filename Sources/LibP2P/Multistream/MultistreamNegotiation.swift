package import NIOCore

/// What happens to a negotiation.
package enum MultistreamInput: Sendable {
    /// The pipe is open: begin.
    case start
    /// The peer sent these bytes.
    case received(ByteBuffer)
    /// The peer will send nothing more.
    case endOfInput
    /// The time for the negotiation is over.
    case deadlinePassed
}

/// What a negotiation wants done, in order.
package enum MultistreamEffect: Hashable, Sendable {
    /// Send these bytes now.
    case send(ByteBuffer)
    /// Send these bytes in front of the first that the application sends; if it sends none soon,
    /// alone.
    case sendWithFirstWrite(ByteBuffer)
    /// The application may set itself up for this protocol and send. In a lazy negotiation the
    /// peer's agreement is still outstanding.
    case selected(ProtocolID)
    /// The peer has agreed; the bytes, and all that follow, are the application's.
    case established(rest: ByteBuffer)
    /// There is no protocol; end the pipe.
    case failed(MultistreamError)
}

/// One side of a multistream-select negotiation: bytes in, effects out.
package protocol MultistreamNegotiation: Sendable {
    /// Takes the next event. After `established` or `failed` there are no more effects.
    mutating func receive(_ input: MultistreamInput) -> [MultistreamEffect]
}

/// The side that was dialled: answers proposals until one is supported.
///
/// ```
/// start ─ send header ─► awaiting header ─► awaiting proposal ─ supported: send echo ─► done
///                                             └─── not supported: send na ───┘
/// ```
package struct MultistreamListener: MultistreamNegotiation {
    /// The most proposals that are answered. The protocol has no limit; this one keeps a peer from
    /// having us answer for as long as the deadline lasts.
    package static let maximumProposals = 256

    private enum State {
        case idle
        case awaitingHeader
        case awaitingProposal(refused: Int)
        case done
    }

    private let supported: Set<ProtocolID>
    private var state = State.idle
    private var unread = ByteBuffer()

    /// A listener that speaks `supported`.
    package init(supported: Set<ProtocolID>) {
        self.supported = supported
    }

    package mutating func receive(_ input: MultistreamInput) -> [MultistreamEffect] {
        if case .done = state { return [] }
        switch input {
        case .start:
            guard case .idle = state else { return [] }
            state = .awaitingHeader
            var header = ByteBuffer()
            MultistreamToken.write(MultistreamToken.header, to: &header)
            return [.send(header)] + answer()
        case .received(var bytes):
            unread.writeBuffer(&bytes)
            if case .idle = state { return [] }
            return answer()
        case .endOfInput:
            return fail(.endOfStream)
        case .deadlinePassed:
            return fail(.timedOut)
        }
    }

    private mutating func answer() -> [MultistreamEffect] {
        var answers = ByteBuffer()
        do throws(MultistreamError) {
            while let text = try MultistreamToken.read(from: &unread) {
                switch state {
                case .awaitingHeader:
                    guard text == MultistreamToken.header else { throw .wrongHeader }
                    state = .awaitingProposal(refused: 0)
                case .awaitingProposal(let refused):
                    if let agreed = find(text) {
                        state = .done
                        MultistreamToken.write(text, to: &answers)
                        return [.send(answers), .selected(agreed), .established(rest: unread)]
                    }
                    guard refused < Self.maximumProposals else { throw .tooManyProposals }
                    state = .awaitingProposal(refused: refused + 1)
                    MultistreamToken.write(MultistreamToken.notAvailable, to: &answers)
                case .idle, .done:
                    return []
                }
            }
        } catch {
            return (answers.readableBytes > 0 ? [.send(answers)] : []) + fail(error)
        }
        unread.discardReadBytes()
        return answers.readableBytes > 0 ? [.send(answers)] : []
    }

    /// The supported protocol whose name is `text` byte by byte: equality of Swift strings would
    /// take other spellings of one character for the same.
    private func find(_ text: [UInt8]) -> ProtocolID? {
        guard let name = String(validating: text, as: UTF8.self),
            let index = supported.firstIndex(of: ProtocolID(rawValue: name))
        else { return nil }
        let found = supported[index]
        return found.rawValue.utf8.elementsEqual(text) ? found : nil
    }

    private mutating func fail(_ error: MultistreamError) -> [MultistreamEffect] {
        state = .done
        return [.failed(error)]
    }
}

/// The side that dials: proposes protocols in turn until the peer agrees to one.
///
/// A lazy dialer knows already that the peer speaks its protocol. It lets the application send at
/// once, in one write with header and proposal, and looks at the answer when it comes.
package struct MultistreamDialer: MultistreamNegotiation {
    private enum State {
        case idle
        case awaitingHeader
        case awaitingAnswer
        case done
    }

    private let proposals: [ProtocolID]
    private let isLazy: Bool
    private var proposed = 0
    private var state = State.idle
    private var unread = ByteBuffer()

    /// A dialer that proposes `protocols` in this order and waits for the answers.
    package init(proposing protocols: [ProtocolID]) {
        self.proposals = protocols
        self.isLazy = false
    }

    /// A dialer that takes the peer's agreement to one protocol for granted.
    package init(lazilyProposing proposal: ProtocolID) {
        self.proposals = [proposal]
        self.isLazy = true
    }

    package mutating func receive(_ input: MultistreamInput) -> [MultistreamEffect] {
        if case .done = state { return [] }
        switch input {
        case .start:
            guard case .idle = state else { return [] }
            guard let first = proposals.first else { return fail(.refused([])) }
            state = .awaitingHeader
            var opening = ByteBuffer()
            MultistreamToken.write(MultistreamToken.header, to: &opening)
            MultistreamToken.write(first.rawValue.utf8, to: &opening)
            return (isLazy ? [.sendWithFirstWrite(opening), .selected(first)] : [.send(opening)]) + advance()
        case .received(var bytes):
            unread.writeBuffer(&bytes)
            if case .idle = state { return [] }
            return advance()
        case .endOfInput:
            return fail(.endOfStream)
        case .deadlinePassed:
            return fail(.timedOut)
        }
    }

    private mutating func advance() -> [MultistreamEffect] {
        var effects: [MultistreamEffect] = []
        do throws(MultistreamError) {
            while let text = try MultistreamToken.read(from: &unread) {
                switch state {
                case .awaitingHeader:
                    guard text == MultistreamToken.header else { throw .wrongHeader }
                    state = .awaitingAnswer
                case .awaitingAnswer:
                    let proposal = proposals[proposed]
                    if proposal.rawValue.utf8.elementsEqual(text) {
                        state = .done
                        return effects + (isLazy ? [] : [.selected(proposal)]) + [.established(rest: unread)]
                    }
                    guard text == MultistreamToken.notAvailable else { throw .unexpectedAnswer }
                    proposed += 1
                    guard proposed < proposals.count else { throw .refused(proposals) }
                    var next = ByteBuffer()
                    MultistreamToken.write(proposals[proposed].rawValue.utf8, to: &next)
                    effects.append(.send(next))
                case .idle, .done:
                    return effects
                }
            }
        } catch {
            return effects + fail(error)
        }
        unread.discardReadBytes()
        return effects
    }

    private mutating func fail(_ error: MultistreamError) -> [MultistreamEffect] {
        state = .done
        return [.failed(error)]
    }
}
