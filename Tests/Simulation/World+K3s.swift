import Coordination
import K3s
import NodeAgent
import Timing
import VPN

/// The steps of a plan, and what they are for.
struct K3sSteps {
    let actions: [Plan.Action]
    let desired: DesiredState
}

/// K3s on each machine, and the agent's reconciliation of it.
extension World {
    mutating func assign(_ assignment: K3sAssignment, to index: Int) {
        trace(9, index, assignment.role == .founder ? 1 : 0)
        note(
            "n\(index) is \(assignment.role)\(assignment.isDeparting ? " for now" : "") at \(assignment.address)"
        )
        checkRole(assignment, of: index)
        do {
            let desired = try machines[index].k3s.node.desiredState(of: assignment)
            machines[index].k3s.desired = desired
            machines[index].epoch = assignment.epoch
            // As the runner does: the only server of a cluster needs no permission.
            machines[index].agent?.isAlone = !assignment.highAvailability
            permitRestart(index)
            reconcile(.desired(desired), at: index)
        } catch {
            violate(.order, "K3s of n\(index) cannot be configured: \(error)")
        }
    }

    mutating func reconcile(_ input: K3sReconciler.Input, at index: Int) {
        guard machines[index].agent != nil else { return }
        let moment = moment(index)
        let effects =
            machines[index].agent?.reconciler.receive(input, at: now, wall: moment.wall) ?? []
        let life = machines[index].life
        for effect in effects {
            switch effect {
            case .observe: schedule(.k3sLook(index, life: life), after: .milliseconds(2))
            case .carryOut(let actions, let desired):
                let steps = K3sSteps(actions: actions, desired: desired)
                schedule(.k3sAct(index, life: life, steps), after: .milliseconds(3))
            case .announce: break
            case .askMembership:
                schedule(.membership(index, life: life), after: .milliseconds(300))
            case .report(let report):
                let token = machines[index].k3s.datastore.map { clusters[$0].pinned($0) }
                feed(
                    .k3s(
                        K3sCondition(
                            epoch: report.epoch, isServer: report.isServer, hasData: report.hasData,
                            isReady: report.isReady,
                            isVoter: sabotage == .learnersVote ? true : report.isVoter,
                            isMember: report.isMember, hasLostData: report.hasLostData,
                            token: token, hasRun: report.isReady || report.hasNodeToken)),
                    to: index)
                feed(LeaseCore.Input.wantsRestart(report.needsTurn), to: index)
            }
        }
        checkDeadline(of: machines[index].agent?.reconciler, at: now, { $0.nextDeadline }) {
            _ = $0.receive(.tick, at: $1, wall: $2)
        }
        guard let deadline = machines[index].agent?.reconciler.nextDeadline else { return }
        let at = max(deadline, now + .milliseconds(1))
        if let planned = machines[index].agent?.reconcilerTick, planned <= at { return }
        machines[index].agent?.reconcilerTick = at
        schedule(.reconcilerTick(index, life: life), after: at - now)
    }

    /// What the agent reads of K3s before it looks at it, as it starts.
    func knownCondition(_ index: Int) -> K3sCondition {
        let k3s = machines[index].k3s
        if sabotage == .datastoreForgotten, let decree = machines[index].disk.election?.certificate?.decree {
            return K3sCondition(epoch: decree.epoch, hasData: true)
        }
        let text = k3s.files[k3s.node.layout.clusterRecord]
        return K3sCondition(
            found: text.map { ClusterRecord($0).map { .known($0) } ?? .unreadable } ?? .missing,
            datastore: k3s.datastore.map { clusters[$0].isEtcd ? .etcd : .sqlite },
            isTakenOut: k3s.isTakenOut, token: k3s.datastore.map { clusters[$0].pinned($0) })
    }

    mutating func lookAtK3s(_ index: Int) {
        guard let desired = machines[index].k3s.desired else { return }
        let hasEtcd = machines[index].k3s.datastore.map { clusters[$0].isEtcd } ?? false
        reconcile(.observed(machines[index].k3s.observation(of: desired, hasEtcd: hasEtcd)), at: index)
    }

    mutating func carryOut(_ steps: K3sSteps, at index: Int) {
        var done: [Plan.Action] = []
        var failure: K3sReconciler.Failure?
        for action in steps.actions {
            guard survivesStep(index) else { return }
            if machines[index].diskIsFull, let path = action.writtenPath {
                failure = .file(FileError(path: path, operation: "write", code: 28))
                break
            }
            if case .restart(.server) = action { checkRestart(of: index) }
            if let start = machines[index].k3s.carryOut(action, for: steps.desired) {
                machines[index].k3sStarts += 1
                started(index, start)
            }
            done.append(action)
        }
        reconcile(.carriedOut(done, failure: failure), at: index)
    }

    private mutating func started(_ index: Int, _ start: Int) {
        trace(10, index, start)
        let command = machines[index].k3s.process?.command
        note("n\(index) starts K3s (\(command?.rawValue ?? "none"))")
        let time = random.duration(in: .milliseconds(200) ... .milliseconds(900))
        schedule(.k3sAttempt(index, start: start), after: time)
    }

    /// Starts what is enabled, once the power is back.
    mutating func schedulePowerUp(_ index: Int, after outage: Duration) {
        guard let start = machines[index].k3s.powerUp() else { return }
        // It waits for the device of the agent, as its unit says.
        schedule(.k3sAttempt(index, start: start), after: outage + .milliseconds(500))
    }

    // MARK: what K3s does

    /// The start of this number tries to come up.
    mutating func attemptK3s(_ index: Int, start: Int) {
        guard !machines[index].isGone, let process = machines[index].k3s.process, process.number == start,
            !process.isReady
        else { return }
        if let again = process.startsAgainAt {
            guard now >= again else { return }
            // Its unit starts it again if it may.
            guard machines[index].k3s.files[machines[index].k3s.node.layout.startPermit(.server)] != nil
            else {
                machines[index].k3s.process = nil
                return reconcile(.changed, at: index)
            }
            machines[index].k3s.process?.startsAgainAt = nil
        }
        let retry = Event.k3sAttempt(index, start: start)
        // Below a device that carries nothing there is nobody to talk to.
        guard machines[index].agent?.device != nil else { return schedule(retry, after: .seconds(1)) }
        let succeeded =
            process.command == .server
            ? comeUpAsServer(index, process.settings) : comeUpAsAgent(index, process.settings)
        guard succeeded else {
            if machines[index].k3s.process?.hasEnded == true { return }
            machines[index].k3s.restarts += 1
            return schedule(retry, after: .seconds(1))
        }
        machines[index].k3s.process?.isReady = true
        machines[index].restarting = nil
        // Read before it is written beside: the two are parts of one K3s.
        let datastore = machines[index].k3s.datastore
        if process.command == .server { machines[index].k3s.process?.cluster = datastore }
        trace(11, index)
        note("K3s of n\(index) is up")
        reconcile(.changed, at: index)
    }
}

extension Plan.Action {
    /// The file that it writes.
    fileprivate var writtenPath: String? {
        switch self {
        case .write(let file): file.path
        case .recordApplied, .recordCluster, .setAside, .markDeployed: "/usr/local/.kairos"
        default: nil
        }
    }
}
