//! Settling a closure: rights in each op's own past, then what removals and demotions void, until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::{
    id::{OpId, PersonaId},
    op::OpBody,
};

use super::{
    PolicyLog, Seniority, SeniorityKey,
    bits::Bits,
    fold::Fold,
    log::Entry,
    person::{Event, Grant, Kind},
    rights::{Elders, Verdict, verdict},
};

/// Readings kept while rights are computed: a linear log needs one, every fork one more.
const READINGS_MAX: usize = 4;

pub(crate) struct Resolver<'a, 's> {
    log: &'a PolicyLog,
    pub(crate) elders: Elders<'s>,
    /// Verdicts that asked for seniority: they hold for this call only.
    local: BTreeMap<usize, Verdict>,
    /// Recovers among these: whether one counts depends on where it is read, and so does all that was said since.
    recovers: Bits,
    readings: Vec<Fold<'a>>,
}

/// A revocation and everything it would void.
struct Strike {
    subject: PersonaId,
    ops: Vec<usize>,
    grant: Grant,
    voids: Bits,
    signers: Vec<(PersonaId, OpId)>,
}

impl<'a, 's> Resolver<'a, 's> {
    pub(crate) fn new(log: &'a PolicyLog, seniority: &'s dyn Seniority) -> Self {
        Self {
            log,
            elders: Elders::new(seniority),
            local: BTreeMap::new(),
            recovers: Bits::default(),
            readings: Vec::new(),
        }
    }

    /// What the closed set `set` says.
    pub(crate) fn settle(&mut self, set: &Bits) -> Fold<'a> {
        let log = self.log;
        self.judge_all(log.ordered().filter(|e| set.contains(e.index)));
        self.elders.asked().set(false);
        self.resolve(set)
    }

    /// Computes the rights of ops, causes first.
    pub(crate) fn judge_all(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        for entry in entries {
            if self.verdict(entry).is_none() {
                self.judge(entry);
            }
        }
    }

    pub(crate) fn verdict(&self, entry: &'a Entry) -> Option<&Verdict> {
        entry.verdict.get().or_else(|| self.local.get(&entry.index))
    }

    /// Computes an op's right; those of all its causes are known.
    fn judge(&mut self, entry: &'a Entry) {
        let known = self.readings.iter().position(|r| r.set == entry.past);
        self.elders.asked().set(false);
        let reading = match known {
            Some(place) => self.readings.remove(place),
            None => self.resolve(&entry.past),
        };
        self.elders.asked().set(reading.asked);
        let found = verdict(&reading, &self.elders, &entry.author(), &entry.content.body);
        if self.elders.asked().get() || entry.past.meets(&self.recovers) {
            if let OpBody::Recover { .. } = entry.content.body {
                self.recovers.insert(entry.index);
            }
            self.local.insert(entry.index, found);
        } else {
            // Computed twice by two threads, it is the same verdict.
            let _ = entry.verdict.set(found);
        }
        let shared = entry.content.prev.iter().filter_map(|p| self.log.entry(p)).all(|p| p.children > 1);
        if shared {
            self.keep(reading.clone());
        }
        self.extend(reading, entry);
    }

    /// The reading after an op that knows of everything in it: nothing there can become void by it.
    fn extend(&mut self, mut reading: Fold<'a>, entry: &'a Entry) {
        self.elders.asked().set(reading.asked);
        let right = self.verdict(entry).and_then(|v| v.as_ref().ok());
        reading.read(entry, right, &self.elders);
        reading.asked = self.elders.asked().get();
        self.keep(reading);
    }

    fn keep(&mut self, reading: Fold<'a>) {
        if self.readings.len() >= READINGS_MAX {
            self.readings.remove(0);
        }
        self.readings.push(reading);
    }

    /// Voids are settled in rounds: revocations that no other one strikes take effect; where all strike each other,
    /// the one with the most senior signer does. What took effect stays.
    fn resolve(&self, set: &Bits) -> Fold<'a> {
        let mut void = Bits::default();
        let mut immune = Bits::default();
        let mut settled: BTreeSet<(PersonaId, Vec<usize>)> = BTreeSet::new();
        loop {
            let mut fold = self.fold(set, void.clone());
            if !fold.late.iter().all(|i| void.contains(*i)) {
                fold.late.iter().for_each(|i| void.insert(*i));
                void = self.with_dependents(set, void, &immune);
                continue;
            }
            let mut strikes = self.strikes(set, &fold, &immune);
            strikes.retain(|s| !settled.contains(&(s.subject, s.ops.clone())));
            if strikes.is_empty() {
                fold.asked = self.elders.asked().get();
                return fold;
            }
            for strike in self.choose(&strikes) {
                strike.ops.iter().for_each(|op| immune.insert(*op));
                settled.insert((strike.subject, strike.ops.clone()));
                void.union(&strike.voids);
            }
        }
    }

    fn fold(&self, set: &Bits, void: Bits) -> Fold<'a> {
        let mut fold = Fold::passing_over(void);
        let log = self.log;
        for entry in log.ordered().filter(|e| set.contains(e.index)) {
            let right = self.verdict(entry).and_then(|v| v.as_ref().ok());
            fold.read(entry, right, &self.elders);
        }
        fold
    }

    fn strikes(&self, set: &Bits, fold: &Fold<'a>, immune: &Bits) -> Vec<Strike> {
        let mut strikes = Vec::new();
        for (subject, person) in &fold.people {
            for event in person.events.iter().filter(|e| e.kind == Kind::Remove || e.demotes) {
                let mut safe = immune.clone();
                event.ops.iter().for_each(|op| safe.insert(op.index));
                let mut voids = fold.void.clone();
                let own = self.log.authored_by(subject).filter(|e| set.contains(e.index) && !safe.contains(e.index));
                own.filter(|e| struck(e, event)).for_each(|e| voids.insert(e.index));
                if voids != fold.void {
                    strikes.push(strike(*subject, event, self.with_dependents(set, voids, &safe)));
                }
            }
        }
        strikes
    }

    /// Adds every op whose author's right, or whose subject, exists through void ones only.
    fn with_dependents(&self, set: &Bits, mut void: Bits, immune: &Bits) -> Bits {
        for entry in self.log.ordered().filter(|e| set.contains(e.index)) {
            if void.contains(entry.index) || immune.contains(entry.index) {
                continue;
            }
            let Some(Ok(right)) = self.verdict(entry) else { continue };
            let holds = |grant: &Grant| grant.holds(|op| !void.contains(op));
            let holds = right.rests_on.iter().all(|any| any.iter().any(holds));
            if !holds {
                void.insert(entry.index);
            }
        }
        void
    }

    fn choose<'k>(&self, strikes: &'k [Strike]) -> Vec<&'k Strike> {
        let breaks = |a: &Strike, b: &Strike| !b.grant.holds(|op| !a.voids.contains(op));
        let struck = |b: &Strike| strikes.iter().any(|a| a.ops != b.ops && breaks(a, b));
        let free: Vec<_> = strikes.iter().filter(|s| !struck(s)).collect();
        if free.is_empty() { strikes.iter().min_by_key(|s| self.rank(s)).into_iter().collect() } else { free }
    }

    /// The most senior signer, then the least id.
    fn rank(&self, strike: &Strike) -> (Option<SeniorityKey>, Option<OpId>) {
        let senior = strike.signers.iter().map(|(signer, _)| self.elders.key(signer)).min();
        (senior, strike.signers.iter().map(|(_, op)| *op).min())
    }
}

fn strike(subject: PersonaId, event: &Event<'_>, voids: Bits) -> Strike {
    let mut ops: Vec<_> = event.ops.iter().map(|op| op.index).collect();
    ops.sort_unstable();
    let signers = event.ops.iter().map(|op| (op.author(), op.id)).collect();
    Strike { subject, ops, grant: event.grant(), voids, signers }
}

/// An op of the subject outside the revocation's past; those after it have rights of their own.
fn struck(entry: &Entry, event: &Event<'_>) -> bool {
    // A demotion takes no right away that every member has.
    let kept = matches!(
        entry.content.body,
        OpBody::Leave
            | OpBody::RejoinRequest { .. }
            | OpBody::Join { .. }
            | OpBody::DeviceAdd { .. }
            | OpBody::DeviceRevoke { .. }
            | OpBody::Recover { .. }
    );
    let spared = event.demotes && kept;
    !(spared || event.knew(entry) || event.before(entry))
}
